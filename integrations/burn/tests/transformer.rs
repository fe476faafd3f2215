//! A small transformer, trained with burn's norms and with ours: the two differ by a `use`.

mod common;

use burn::module::Module;
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Int, Tensor};

const WIDTH: usize = 32;
const TOKENS: usize = 17;
const STEPS: usize = 10;

/// The model, with whichever norms are in scope.
macro_rules! model {
    () => {
        use super::*;

        #[derive(Module, Debug)]
        struct Block {
            norm_1: LayerNorm,
            attention: MultiHeadAttention,
            norm_2: RmsNorm,
            up: Linear,
            down: Linear,
        }

        #[derive(Module, Debug)]
        pub struct Model {
            embedding: Embedding,
            blocks: Vec<Block>,
            norm: LayerNorm,
            head: Linear,
        }

        impl Model {
            pub fn new(device: &Device) -> Self {
                let block = || Block {
                    norm_1: LayerNormConfig::new(WIDTH).init(device),
                    attention: MultiHeadAttentionConfig::new(WIDTH, 4).with_dropout(0.0).init(device),
                    norm_2: RmsNormConfig::new(WIDTH).init(device),
                    up: LinearConfig::new(WIDTH, 2 * WIDTH).init(device),
                    down: LinearConfig::new(2 * WIDTH, WIDTH).init(device),
                };
                Self {
                    embedding: EmbeddingConfig::new(TOKENS, WIDTH).init(device),
                    blocks: (0..2).map(|_| block()).collect(),
                    norm: LayerNormConfig::new(WIDTH).with_bias(false).init(device),
                    head: LinearConfig::new(WIDTH, TOKENS).init(device),
                }
            }

            fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
                let mut x = self.embedding.forward(tokens);
                for block in &self.blocks {
                    let attended =
                        block.attention.forward(MhaInput::self_attn(block.norm_1.forward(x.clone())));
                    x = x + attended.context;
                    x = x.clone() + block.down.forward(gelu(block.up.forward(block.norm_2.forward(x))));
                }
                self.head.forward(self.norm.forward(x))
            }

            /// The losses of each step, learning to say the token before.
            pub fn train(mut self, device: &Device) -> Vec<f64> {
                let mut optimizer = SgdConfig::new().init();
                let mut losses = Vec::new();
                for step in 0..STEPS {
                    let tokens: Vec<i32> = (0..8 * 12)
                        .map(|i| i32::try_from((i * i + 7 * i * (step % 3) + 3) % TOKENS).unwrap())
                        .collect();
                    let tokens = Tensor::<1, Int>::from_data(tokens.as_slice(), device).reshape([8, 12]);
                    let logits = self.forward(tokens.clone().slice([0..8, 1..12]));
                    let targets = tokens.slice([0..8, 0..11]).reshape([8 * 11]);
                    let loss = CrossEntropyLossConfig::new()
                        .init(device)
                        .forward(logits.reshape([8 * 11, TOKENS]), targets);
                    losses.push(common::host(loss.clone())[0]);
                    let gradients = GradientsParams::from_grads(loss.backward(), &self);
                    self = optimizer.step(0.2, self, gradients);
                }
                losses
            }
        }
    };
}

mod with_burns {
    use burn::nn::{LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig};
    model!();
}

mod with_ours {
    use wgpu_layernorm_burn::{LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig};
    model!();
}

#[test]
fn ten_steps_lose_the_same() {
    let device = common::device().autodiff();
    device.seed(7);
    let theirs = with_burns::Model::new(&device);
    // The same weights.
    let record = theirs.clone().into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(record).unwrap();
    let ours = with_ours::Model::new(&device).load_record(record);
    let (theirs, ours) = (theirs.train(&device), ours.train(&device));
    println!("burn's {theirs:?}\nours {ours:?}");
    assert!(theirs[STEPS - 1] < theirs[0] - 0.1, "nothing was learned: {theirs:?}");
    for (step, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
        let off = (theirs - ours).abs() / theirs;
        assert!(off < 2e-6 * (step + 1) as f64, "step {step}: {ours}, with burn's norms {theirs}");
    }
}
