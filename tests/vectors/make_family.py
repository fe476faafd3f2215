"""Writes family.safetensors beside this file: what PyTorch computes in float64 of the norms, options and flags that
torch.safetensors lacks, and ONNX's own node tests of norms, each as a call of the tool.

    python -m venv venv && venv/bin/pip install torch onnx numpy safetensors
    venv/bin/python tests/vectors/make_family.py

README.md beside this file says what the file holds. Run again with the same PyTorch and ONNX, the file comes out
the same, but for the order of its metadata. What is added draws its values last, so that those before keep theirs.
"""

import json
import pathlib

import numpy as np
import onnx
import safetensors.torch
import torch
import torch.nn.functional as F
from onnx.backend.test.case.node import collect_testcases

EPS = float(np.float32(1e-5))


class File:
    """Tensors, and the calls that are made of them."""

    def __init__(self):
        self.tensors, self.calls = {}, []

    def add(self, name, tensors):
        """Tensors as `<name>.<tensor>`; gives a function that names them in flags."""
        for key, value in tensors.items():
            self.tensors[f"{name}.{key}"] = value.detach().contiguous().clone()
        return lambda key: f"{name}.{key}"

    def call(self, name, command, flags, outputs):
        """`outputs`: what OUT has, the tensor that is expected there, and the size that its errors are relative to."""
        self.calls.append({"name": f"{name} {command}", "command": command, "flags": flags, "outputs": outputs})

    def both(self, name, inputs, flags, computed, forward_flags=(), backward_flags=(), outputs=()):
        """A call forward and one backward. `computed` makes y, and what else `outputs` names, of float64 inputs; the
        gradients are its own. Inputs: x, dy, and parameters by the flags that take them, --gain and so on."""
        leaves = {key: value.double().requires_grad_() for key, value in inputs.items() if key != "dy"}
        results = computed(**leaves)
        sizes = self.sizes(results["y"], inputs["dy"].double(), leaves)
        results["y"].backward(inputs["dy"].double())
        gradients = {f"d{key}": leaf.grad for key, leaf in leaves.items()}
        named = self.add(name, {**inputs, **results, **gradients})
        factors = ("gain", "scale", "gate_input")
        shared = [part for key in inputs if key in factors for part in (f"--{key.replace('_', '-')}", named(key))]
        summands = [part for key in inputs if key in ("bias", "shift") for part in (f"--{key}", named(key))]
        flags = [flag if not flag.startswith("@") else named(flag[1:]) for flag in flags]
        forward = ["--x", named("x"), *shared, *summands, *flags, *forward_flags]
        largest = {key: results[key].detach().abs().max().item() for key in ("y", *outputs)}
        self.call(name, "forward", forward, {key: [named(key), size] for key, size in largest.items()})
        backward = ["--x", named("x"), "--dy", named("dy"), *shared, *flags, *backward_flags]
        if "--activation" in flags:
            backward += summands
        self.call(name, "backward", backward, {key: [named(key), sizes[key]] for key in gradients})

    @staticmethod
    def sizes(y, dy, leaves):
        """The largest sum of |terms| of each gradient, a term for each y."""
        sums = {key: torch.zeros_like(leaf) for key, leaf in leaves.items()}
        for value, weight in zip(y.flatten(), dy.flatten()):
            of_value = torch.autograd.grad(value, list(leaves.values()), retain_graph=True)
            for key, gradient in zip(leaves, of_value):
                sums[key] += (weight * gradient).abs()
        return {f"d{key}": value.max().item() for key, value in sums.items()}


def parameters(channels, shape=None):
    shape = shape or (channels,)
    return {"gain": 1 + 0.25 * torch.randn(*shape), "bias": 0.5 * torch.randn(*shape)}


def data(*shape, mean=0.3):
    return {"x": torch.randn(*shape) + mean, "dy": torch.randn(*shape)}


def last(value):
    """[N, C, ...] as [N, ..., C]."""
    return value.movedim(1, -1)


def batch_norms(file):
    for name, shape, momentum, is_last, mean in (
        ("batch", (4, 3, 10), 0.1, False, 0.3),
        ("batch_dense", (9, 6), 0.25, False, 0.3),
        ("batch_last", (3, 8, 5), 0.1, True, 0.3),
        ("batch_large_mean", (4, 4, 16), 0.1, False, 1e4),
    ):
        channels = shape[1]
        old = {"running_mean_before": torch.randn(channels), "running_variance_before": 1 + torch.rand(channels)}
        named = file.add(name, old)
        inputs = {**data(*shape, mean=mean), **parameters(channels)}

        def computed(x, gain, bias, is_training=True):
            running = [value.double().clone() for value in old.values()]
            y = F.batch_norm(x, *running, gain, bias, is_training, momentum, EPS)
            result = {"y": last(y) if is_last else y}
            if is_training:
                result |= {"running_mean": running[0], "running_variance": running[1]}
            return result

        def arranged(x, gain, bias, **more):
            return computed(x.movedim(-1, 1) if is_last else x, gain, bias, **more)

        if is_last:
            inputs |= {key: last(inputs[key]) for key in ("x", "dy")}
        common = ["--normalization", "batch"] + ["--channels-last"] * is_last
        running = [
            "--running-mean",
            named("running_mean_before"),
            "--running-variance",
            named("running_variance_before"),
        ]
        training = [*running, "--momentum", str(momentum)]
        outputs = ("running_mean", "running_variance")
        file.both(name, inputs, common, arranged, forward_flags=training, outputs=outputs)
        file.both(
            f"{name}_inference",
            inputs,
            [*common, "--mode", "inference", *running],
            lambda x, gain, bias: arranged(x, gain, bias, is_training=False),
        )


def channel_norms(file):
    """ConvNeXt's LayerNorm2d: layer norm of each position, here by a permutation."""
    for name, shape, normalization in (
        ("channel", (2, 8, 3, 4), "channel"),
        ("channel_odd", (3, 7, 5), "channel"),
        ("channel_rms", (2, 12, 8), "channel-rms"),
    ):
        channels = shape[1]

        def computed(x, gain, bias=None):
            x = last(x)
            if normalization == "channel":
                y = F.layer_norm(x, (channels,), gain, bias, EPS)
            else:
                y = F.rms_norm(x, (channels,), gain, EPS)
                y = y if bias is None else y + bias
            return {"y": y.movedim(-1, 1)}

        inputs = {**data(*shape), **parameters(channels)}
        file.both(name, inputs, ["--normalization", normalization], computed)


def activations(file):
    """What diffusion models have behind each group norm."""
    flags = ["--normalization", "group", "--groups", "4", "--activation", "silu"]
    inputs = {**data(2, 8, 3, 5), **parameters(8)}
    file.both(
        "group_silu", inputs, flags, lambda x, gain, bias: {"y": F.silu(F.group_norm(x, 4, gain, bias, EPS))}
    )
    inputs = {**data(5, 16), **parameters(16)}
    flags = ["--activation", "silu"]
    file.both("layer_silu", inputs, flags, lambda x, gain, bias: {"y": F.silu(F.layer_norm(x, (16,), gain, bias, EPS))})


def modulations(file):
    """adaLN as DiT has it: (1 + scale) * xhat + shift, of each sample, and of each token."""
    for name, normalization, is_of_tokens, offset in (
        ("modulation", "layer", False, 1),
        ("modulation_of_tokens", "layer", True, 1),
        ("modulation_rms", "rms", False, 0),
    ):
        samples, tokens, cols = 3, 5, 24

        def computed(x, scale, shift):
            if not is_of_tokens:
                scale, shift = scale[:, None], shift[:, None]
            norm = F.layer_norm if normalization == "layer" else F.rms_norm
            xhat = norm(x, (cols,), eps=EPS)
            return {"y": (offset + scale) * xhat + shift}

        shape = (samples, tokens, cols) if is_of_tokens else (samples, cols)
        inputs = {**data(samples, tokens, cols)}
        inputs |= {"scale": 0.5 * torch.randn(*shape), "shift": torch.randn(*shape)}
        flags = ["--normalization", normalization, "--eps", "1e-5", "--scale-offset", str(offset)]
        file.both(name, inputs, flags, computed)


def heads(file):
    """QK norm of the first 4 heads of 8 inside rows of 48, as the projection leaves them."""
    for name, shape in (("heads_shared", (8,)), ("heads_apart", (4, 8))):
        inputs = data(6, 48)
        inputs["gain"] = 1 + 0.25 * torch.randn(*shape)

        def computed(x, gain):
            packed = x[:, :32].reshape(6, 4, 8)
            return {"y": torch.cat([(F.rms_norm(packed, (8,), eps=EPS) * gain).reshape(6, 32), x[:, 32:]], 1)}

        flags = ["--normalization", "rms", "--eps", "1e-5", "--heads", "4", "--head-dim", "8"]
        file.both(name, inputs, flags, computed)


def codes(file):
    """Conversions to E4M3, by themselves: each code that there is, what lies between it and the next, and values
    whose rounding is by hand. PyTorch makes NaN of what exceeds the largest code: values do not."""
    of_codes = torch.arange(0x7F, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    middles = (of_codes[1:] + of_codes[:-1]) / 2
    near = torch.cat([torch.nextafter(middles, torch.tensor(by)) for by in (0.0, 1e9)])
    values = torch.cat([of_codes, middles, near, 448 * torch.rand(64), 0.03 * torch.rand(64)])
    values = torch.cat([values, -values])
    file.add("fp8", {"values": values, "codes": values.to(torch.float8_e4m3fn).view(torch.uint8)})


def gated_norms(file):
    """`rms_norm_ref` of Mamba 2 has both orders (`norm_before_gate`), with a gain for all groups of columns."""
    for rows, cols, groups in ((6, 24, 1), (5, 40, 4)):

        def rms_norm(x, gain):
            grouped = x.unflatten(-1, (groups, -1))
            xhat = grouped * torch.rsqrt(grouped.square().mean(-1, keepdim=True) + EPS)
            return xhat.flatten(-2) * gain

        orders = {
            "before": lambda x, gate_input, gain: {"y": rms_norm(x * F.silu(gate_input), gain)},
            "after": lambda x, gate_input, gain: {"y": rms_norm(x, gain) * F.silu(gate_input)},
        }
        for order, computed in orders.items():
            inputs = {**data(rows, cols), "gate_input": 2 * torch.randn(rows, cols)}
            inputs["gain"] = 1 + 0.25 * torch.randn(cols)
            flags = ["--normalization", "rms", "--gate-order", order]
            if groups > 1:
                flags += ["--heads", str(groups), "--head-dim", str(cols // groups)]
            file.both(f"gated.{order}_{groups}", inputs, flags, computed)


def from_y(file):
    """Gradients from x, for backward that has y and rstd in its place, as forward stores them."""
    for normalization in ("layer", "rms"):
        name = f"from_y.{normalization}"
        inputs = {**data(5, 24), **parameters(24)}
        leaves = {key: value.double().requires_grad_() for key, value in inputs.items() if key != "dy"}
        x = leaves["x"]
        mean = x.mean(-1, keepdim=True) if normalization == "layer" else 0.0
        rstd = torch.rsqrt((x - mean).square().mean(-1, keepdim=True) + EPS)
        y = (x - mean) * rstd * leaves["gain"] + leaves["bias"]
        sizes = file.sizes(y, inputs["dy"].double(), leaves)
        y.backward(inputs["dy"].double())
        gradients = {f"d{key}": leaf.grad for key, leaf in leaves.items()}
        stored = {"y": y.detach().float(), "rstd": rstd.detach().flatten().float()}
        named = file.add(name, {**inputs, **stored, **gradients})
        flags = [part for key in ("y", "rstd", "gain", "bias", "dy") for part in (f"--{key}", named(key))]
        flags += ["--normalization", normalization]
        file.call(name, "backward", flags, {key: [named(key), sizes[key]] for key in gradients})


# Operators of ONNX, and the tool's names of what they take and give.
ONNX = {
    "LayerNormalization": (["x", "gain", "bias"], ["y", "mean", "rstd"]),
    "RMSNormalization": (["x", "gain"], ["y"]),
    "GroupNormalization": (["x", "gain", "bias"], ["y"]),
    "InstanceNormalization": (["x", "gain", "bias"], ["y"]),
    "BatchNormalization": (
        ["x", "gain", "bias", "running_mean", "running_variance"],
        ["y", "running_mean", "running_variance"],
    ),
    "LpNormalization": (["x"], ["y"]),
}


def onnx_flags(node, attributes, tensors):
    """The flags of a node, or None of one that is no norm of rows."""
    shape = tensors["x"].shape
    axis = attributes.get("axis", -1) % len(shape)
    eps = ["--eps", str(attributes.get("epsilon", 1e-5))]
    if node.op_type in ("LayerNormalization", "RMSNormalization"):
        tensors["gain"] = tensors["gain"].reshape(-1)
        if "bias" in tensors:
            tensors["bias"] = tensors["bias"].reshape(-1)
        name = "layer" if node.op_type == "LayerNormalization" else "rms"
        return ["--normalization", name, *eps, "--cols", str(tensors["x"][(0,) * axis].numel())]
    if node.op_type == "GroupNormalization":
        return ["--normalization", "group", *eps, "--groups", str(attributes["num_groups"])]
    if node.op_type == "InstanceNormalization":
        return ["--normalization", "instance", *eps]
    if node.op_type == "BatchNormalization":
        is_training = attributes.get("training_mode", 0)
        training = ["--running", "onnx", "--momentum", str(attributes.get("momentum", 0.9))]
        return ["--normalization", "batch", *eps, *(training if is_training else ["--mode", "inference"])]
    if attributes.get("p", 2) != 2 or axis != len(shape) - 1:
        return None
    return ["--normalization", "l2"]


def onnx_tests(file):
    for test in sorted(collect_testcases(None), key=lambda test: test.name):
        node = test.model.graph.node[0]
        # Axes from the end are those of other tests.
        is_repeated = "_negative_" in test.name
        if len(test.model.graph.node) != 1 or node.op_type not in ONNX or is_repeated:
            continue
        [(inputs, outputs)] = test.data_sets
        tensors, expected = (
            {name: torch.from_numpy(np.array(value)) for name, value in zip(names, values)}
            for names, values in zip(ONNX[node.op_type], (inputs, outputs))
        )
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        flags = onnx_flags(node, attributes, tensors)
        if flags is None:
            continue
        name = "onnx." + test.name.removeprefix("test_")
        named = file.add(name, tensors)
        file.add(f"{name}.expected", expected)
        taken = [part for key in tensors for part in (f"--{key.replace('_', '-')}", named(key))]
        statistics = ["--statistics"] * ("mean" in expected)
        outputs = {key: [f"{name}.expected.{key}", value.abs().max().item()] for key, value in expected.items()}
        file.call(name, "forward", [*taken, *flags, *statistics], outputs)


def main():
    torch.manual_seed(20160721)
    file = File()
    for part in (batch_norms, channel_norms, activations, modulations, heads, codes, onnx_tests, gated_norms, from_y):
        part(file)
    metadata = {"torch": torch.__version__, "onnx": onnx.__version__, "calls": json.dumps(file.calls)}
    path = pathlib.Path(__file__).with_name("family.safetensors")
    safetensors.torch.save_file(file.tensors, path, metadata)
    print(f"{path}: {len(file.calls)} calls, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
