"""Writes torch.safetensors beside this file: layer norm, RMS norm, L2, weight normalization, group norm and norms of
gated sums as PyTorch computes them in float64.

    python -m venv venv && venv/bin/pip install torch numpy safetensors
    venv/bin/python tests/vectors/make.py

README.md beside this file says what the file holds. Run again with the same PyTorch, the file comes out the
same, but for the order of its metadata. What is added draws its values last, so that those before keep theirs.
"""

import json
import pathlib

import numpy as np
import safetensors.torch
import torch

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
AFFINES = ["none", "gain", "gain_bias"]
# As the crate takes them: float32.
EPS = [float(np.float32(eps)) for eps in (1e-5, 1e-6, 1e-12, 0.1)]


def normalize(x, normalization, gain, bias, eps):
    """y in the dtype of x."""
    if normalization == "layer":
        return torch.nn.functional.layer_norm(x, x.shape[-1:], gain, bias, eps)
    if normalization == "l2":
        y = torch.nn.functional.normalize(x, dim=-1, eps=eps)
        y = y if gain is None else y * gain
        return y if bias is None else y + bias
    y = torch.nn.functional.rms_norm(x, x.shape[-1:], gain, eps)
    return y if bias is None else y + bias


def statistics(x, normalization, eps):
    """mean and rstd of each row."""
    if normalization == "layer":
        return x.mean(-1), (x.var(-1, correction=0) + eps).rsqrt()
    if normalization == "l2":
        return torch.zeros_like(x[:, 0]), 1 / x.norm(dim=-1).clamp_min(eps)
    return torch.zeros_like(x[:, 0]), (x.square().mean(-1) + eps).rsqrt()


def make_case(normalization, affine, dtype, parameter_dtype, rows, cols, eps, residual=False, mean=0.3):
    """The stored inputs of one case and the float64 results that belong to them."""
    stored, parameter_stored = DTYPES[dtype], DTYPES[parameter_dtype]
    case = {"x": (torch.randn(rows, cols) + mean).to(stored), "dy": torch.randn(rows, cols).to(stored)}
    if affine != "none":
        case["gain"] = (1 + 0.25 * torch.randn(cols)).to(parameter_stored)
    if affine == "gain_bias":
        case["bias"] = (0.5 * torch.randn(cols)).to(parameter_stored)
    if residual:
        case["residual"] = torch.randn(rows, cols).to(stored)
        # One rounding, to the storage type: what gets normalized is the sum as stored.
        case["sum"] = (case["x"].double() + case["residual"].double()).to(stored)

    x = case["sum" if residual else "x"].double().requires_grad_()
    gain = case["gain"].double().requires_grad_() if "gain" in case else None
    bias = case["bias"].double().requires_grad_() if "bias" in case else None
    y = normalize(x, normalization, gain, bias, eps)
    y.backward(case["dy"].double())
    case["y"] = y.detach()
    case["mean"], case["rstd"] = (value.detach() for value in statistics(x, normalization, eps))
    for name, leaf in ("dx", x), ("dgain", gain), ("dbias", bias):
        if leaf is not None:
            case[name] = leaf.grad
    return case


def make_weight_norm(shape, dim, dtype):
    """v, g and the gradient of w, and the float64 results that belong to them."""
    v, dw = (torch.randn(shape).to(DTYPES[dtype]) for _ in range(2))
    of_dim = [length if i == dim else 1 for i, length in enumerate(shape)]
    g = torch.randn(of_dim)
    leaves = [v.double().requires_grad_(), g.double().requires_grad_()]
    w = torch._weight_norm(*leaves, dim)
    w.backward(dw.double())
    norm = v.double().transpose(0, dim).flatten(1).norm(dim=1)
    case = {"v": v, "g": g, "dw": dw, "w": w.detach(), "norm": norm}
    return {**case, "dv": leaves[0].grad, "dg": leaves[1].grad}


def make_group_norm(affine, samples, channels, groups, spatial, eps, mean=0.3):
    """x, dy and the parameters of the channels, and the float64 results that belong to them."""
    case = {
        "x": torch.randn(samples, channels, spatial) + mean,
        "dy": torch.randn(samples, channels, spatial),
        "gain": 1 + 0.25 * torch.randn(channels),
    }
    if affine == "gain_bias":
        case["bias"] = 0.5 * torch.randn(channels)

    x, gain = (case[name].double().requires_grad_() for name in ("x", "gain"))
    bias = case.get("bias", torch.zeros(channels)).double().requires_grad_()
    y = torch.nn.functional.group_norm(x, groups, gain, bias, eps)
    y.backward(case["dy"].double())
    case["y"] = y.detach()
    rows = x.detach().reshape(samples * groups, -1)
    case["mean"], case["rstd"] = statistics(rows, "layer", eps)
    case["dx"], case["dgain"] = x.grad, gain.grad
    if affine == "gain_bias":
        case["dbias"] = bias.grad
    return case


def make_gated(normalization, affine, samples, tokens, cols, eps, modulated):
    """A norm of residual + gate * x, with a gate for each sample: [samples, 3 * cols] are shift, scale and gate."""
    case = {name: torch.randn(samples, tokens, cols) for name in ("x", "residual", "dy", "dsum")}
    case["modulation"] = 0.5 * torch.randn(samples, 3 * cols)
    if affine != "none":
        case["gain"] = 1 + 0.25 * torch.randn(cols)
    if affine == "gain_bias":
        case["bias"] = 0.5 * torch.randn(cols)

    names = ["x", "residual", "modulation"] + [name for name in ("gain", "bias") if name in case]
    given = {name: case[name].double().requires_grad_() for name in names}
    shift, scale, gate = given["modulation"].unsqueeze(1).chunk(3, dim=-1)
    # float32, as backward reads it.
    exact = given["residual"] + gate * given["x"]
    sum = exact + (exact.detach().float().double() - exact.detach())
    y = normalize(sum, normalization, given.get("gain"), given.get("bias"), eps)
    y = y * (1 + scale) + shift if modulated else y
    torch.autograd.backward([y, sum], [case["dy"].double(), case["dsum"].double()])
    case["sum"], case["y"] = sum.detach().float(), y.detach()
    case["mean"], case["rstd"] = statistics(sum.detach().reshape(-1, cols), normalization, eps)
    gradients = {"x": "dbranch", "residual": "dx", "modulation": "dmodulation", "gain": "dgain", "bias": "dbias"}
    return {**case, **{gradients[name]: value.grad for name, value in given.items()}}


def main():
    torch.manual_seed(20160721)
    tensors, cases = {}, []

    def add(name, tensors_of_case, **description):
        cases.append({"name": name, **description})
        tensors.update({f"{name}.{key}": value.contiguous() for key, value in tensors_of_case.items()})

    def add_case(normalization, affine, dtype, parameter_dtype, rows, cols, residual):
        description = dict(
            normalization=normalization,
            affine=affine,
            dtype=dtype,
            parameter_dtype=parameter_dtype,
            rows=rows,
            cols=cols,
            eps=EPS[len(cases) % len(EPS)],
        )
        name = ".".join([normalization, affine, dtype, parameter_dtype, str(cols)] + ["residual"] * residual)
        add(name, make_case(**description, residual=residual), **description)

    for normalization in ("layer", "rms"):
        for i, dtype in enumerate(DTYPES):
            for j, affine in enumerate(AFFINES):
                for k, cols in enumerate((1, 2, 7, 64)):
                    parameter_dtype = dtype if (j + k) % 2 else "f32"
                    add_case(normalization, affine, dtype, parameter_dtype, 3, cols, residual=(i + j + k) % 4 == 0)
            # The wide ones are most of the file: one affine for each dtype.
            for k, cols in enumerate((129, 384)):
                add_case(normalization, AFFINES[(i + k) % 3], dtype, "f32", 2, cols, residual=k == 0)

    # |mean| far above the standard deviation, and what PyTorch makes of it in float32.
    for exponent in (4, 6):
        description = dict(
            normalization="layer",
            affine="gain_bias",
            dtype="f32",
            parameter_dtype="f32",
            rows=2,
            cols=384,
            eps=EPS[0],
        )
        case = make_case(**description, mean=10.0**exponent)
        case["y_torch_f32"] = normalize(case["x"], "layer", case["gain"], case["bias"], EPS[0])
        add(f"large_mean_1e{exponent}", case, **description)

    for i, (dtype, affine) in enumerate((d, a) for d in DTYPES for a in AFFINES):
        add_case("l2", affine, dtype, dtype if i % 2 else "f32", 3, (1, 2, 7, 64)[i % 4], residual=i % 4 == 0)
    # Rows whose norm is below eps, where y is linear in x.
    description = dict(
        normalization="l2", affine="gain", dtype="f32", parameter_dtype="f32", rows=3, cols=7, eps=float(np.float32(10.0))
    )
    add("l2_below_eps", make_case(**description), **description)

    weight_norms = []
    for i, shape in enumerate(((5, 8), (6, 3, 4))):
        for dim in range(len(shape)):
            dtype = list(DTYPES)[(i + dim) % 3]
            weight_norms.append({"name": f"weight.{i}.{dim}", "dim": dim, "dtype": dtype})
            of_case = make_weight_norm(shape, dim, dtype)
            tensors.update({f"weight.{i}.{dim}.{key}": value.contiguous() for key, value in of_case.items()})

    group_norms = []
    for affine, samples, channels, groups, spatial, mean in (
        ("gain_bias", 3, 8, 4, 15, 0.3),
        # Instance norm.
        ("gain_bias", 2, 6, 6, 49, 0.3),
        # The whole sample.
        ("gain_bias", 4, 5, 1, 16, 0.3),
        # [samples, channels].
        ("gain_bias", 9, 6, 2, 1, 0.3),
        # The mean far above the standard deviation.
        ("gain_bias", 2, 8, 2, 64, 1e4),
        ("gain", 2, 12, 3, 20, 0.3),
    ):
        name = "group_large_mean_1e4" if mean == 1e4 else f"group.{affine}.{channels}.{groups}.{spatial}"
        description = dict(affine=affine, samples=samples, channels=channels, groups=groups, spatial=spatial)
        description["eps"] = EPS[len(group_norms) % len(EPS)]
        group_norms.append({"name": name, **description})
        of_case = make_group_norm(**description, mean=mean)
        tensors.update({f"{name}.{key}": value.contiguous() for key, value in of_case.items()})

    gated_sums = []
    for normalization, affine, samples, tokens, cols, modulated in (
        ("layer", "none", 2, 5, 64, True),
        ("rms", "none", 3, 2, 7, True),
        ("layer", "none", 2, 4, 16, False),
        ("layer", "gain_bias", 3, 3, 24, False),
        ("rms", "gain", 6, 1, 9, False),
    ):
        name = ".".join(["gated", normalization, affine, str(cols)] + ["modulated"] * modulated)
        description = dict(normalization=normalization, affine=affine, samples=samples, tokens=tokens, cols=cols)
        description.update(eps=EPS[len(gated_sums) % len(EPS)], modulated=modulated)
        gated_sums.append({"name": name, **description})
        of_case = make_gated(**description)
        tensors.update({f"{name}.{key}": value.contiguous() for key, value in of_case.items()})

    lists = {"cases": cases, "weight_norms": weight_norms, "group_norms": group_norms, "gated_sums": gated_sums}
    metadata = {"torch": torch.__version__, **{name: json.dumps(value) for name, value in lists.items()}}
    path = pathlib.Path(__file__).with_name("torch.safetensors")
    safetensors.torch.save_file(tensors, path, metadata)
    print(f"{path}: {len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
