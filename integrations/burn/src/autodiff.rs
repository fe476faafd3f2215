//! The norms with gradients: forward keeps statistics, and backward is a call of the kernels too.

use crate::backend::{Gradients, Inputs, Maybe, NormOps, Outputs};
use crate::norm::{Norm, Wanted};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend};

/// What backward needs of forward. x and gain are checkpoints: burn keeps them, or makes them again.
#[derive(Clone, Debug)]
struct Kept<T> {
    x: NodeId,
    gain: Option<NodeId>,
    statistics: T,
    norm: Norm,
}

/// y of x, gain and bias.
#[derive(Debug)]
struct Normalize;

impl<B: NormOps> Backward<B, 3> for Normalize {
    type State = Kept<FloatTensor<B>>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut grads::Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<B>(&ops.node);
        let Kept { x, gain, statistics, norm } = ops.state;
        let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
        let gain: Option<FloatTensor<B>> = gain.map(|gain| checkpointer.retrieve_node_output(gain));
        let [wants_x, wants_gain, wants_bias] = ops.parents.each_ref().map(Option::is_some);
        let wanted = Wanted { x: wants_x, gain: wants_gain, bias: wants_bias };
        let Gradients { x, gain, bias } = B::norm_backward(x, dy, statistics, gain.into(), norm, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip([x, gain, bias]) {
            if let (Some(parent), Maybe::Tensor(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// x + residual: its gradient is that of both.
#[derive(Debug)]
struct Add;

impl<B: NormOps> Backward<B, 2> for Add {
    type State = ();

    fn backward(self, ops: Ops<(), 2>, grads: &mut grads::Gradients, _: &mut Checkpointer) {
        let dsum = grads.consume::<B>(&ops.node);
        for parent in ops.parents.into_iter().flatten() {
            grads.register::<B>(parent.id, dsum.clone());
        }
    }
}

impl<B: NormOps, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn norm_forward(x: FloatTensor<Self>, inputs: Inputs<Self>, norm: Norm, _: bool) -> Outputs<Self> {
        let Inputs { residual, gain, bias } = inputs;
        let [residual, gain, bias] = [residual, gain, bias].map(Maybe::into_option);
        let inner = |tensor: &Option<FloatTensor<Self>>| tensor.as_ref().map(|it| it.primitive().clone());
        let of_inner = Inputs {
            residual: inner(&residual).into(),
            gain: inner(&gain).into(),
            bias: inner(&bias).into(),
        };
        let tensors = [Some(&x), residual.as_ref(), gain.as_ref(), bias.as_ref()];
        let keep = tensors.into_iter().flatten().any(|tensor| tensor.is_tracked());
        let Outputs { y, sum, statistics } = B::norm_forward(x.primitive().clone(), of_inner, norm, keep);
        // The rows that are normalized are those of the sum, where there is one.
        let (x, sum) = match (sum, residual) {
            (Maybe::Tensor(sum), Some(residual)) => {
                let nodes = [x.node(), residual.node()];
                let sum: FloatTensor<Self> = Add.prepare::<C>(nodes).compute_bound().stateless(sum);
                (sum.clone(), Maybe::Tensor(sum))
            }
            _ => (x, Maybe::Nothing),
        };
        // A node that asks for no gradient stands in for gain or bias where there is none.
        let node = |tensor: &Option<FloatTensor<Self>>| match tensor {
            Some(tensor) => tensor.node(),
            None => Self::from_inner(x.primitive().clone()).node(),
        };
        let nodes = [x.node(), node(&gain), node(&bias)];
        let y = match (Normalize.prepare::<C>(nodes).compute_bound().stateful(), statistics) {
            (OpsKind::Tracked(mut prep), Maybe::Tensor(statistics)) => {
                let gain = gain.as_ref().map(|gain| prep.checkpoint(gain));
                let kept = Kept { x: prep.checkpoint(&x), gain, statistics, norm };
                prep.finish(kept, y)
            }
            (OpsKind::UnTracked(prep), _) => prep.finish(y),
            (OpsKind::Tracked(_), Maybe::Nothing) => {
                unreachable!("statistics are kept where a tensor is tracked")
            }
        };
        Outputs { y, sum, statistics: Maybe::Nothing }
    }

    /// Of the first order, as all of burn's gradients: these have none of their own.
    fn norm_backward(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gain: Maybe<Self>,
        norm: Norm,
        wanted: Wanted,
    ) -> Gradients<Self> {
        let [x, dy, statistics] = [x, dy, statistics].map(|tensor| tensor.into_primitive());
        let gain = gain.into_option().map(|gain| gain.into_primitive());
        let Gradients { x, gain, bias } = B::norm_backward(x, dy, statistics, gain.into(), norm, wanted);
        let lift = |gradient: Maybe<B>| gradient.into_option().map(Self::from_inner).into();
        Gradients { x: lift(x), gain: lift(gain), bias: lift(bias) }
    }
}
