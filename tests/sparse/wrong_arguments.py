"""Calls every operator, module and engine method with one argument at a time wrong: a program of its own.

What must be refused and is not, and what must be the same and is not, is printed, one line each, and last how many
calls there were. A call that reads foreign memory may end the program: the one who starts it sees that, and the name
of the call that was begun last.

``NAPARI_SPARSE3D_KERNELS=FILE`` takes the compiled kernels from another build (one under the address sanitizer).
"""

import importlib.util
import os
import sys

if os.environ.get("NAPARI_SPARSE3D_KERNELS"):
    _spec = importlib.util.spec_from_file_location("napari_sparse3d._kernels", os.environ["NAPARI_SPARSE3D_KERNELS"])
    sys.modules["napari_sparse3d._kernels"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["napari_sparse3d._kernels"])

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import napari_sparse3d.sparse as sparse
from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse import SparseTensor, operators
from napari_sparse3d.sparse.contract import Filters, FusedChain, Layer, Normalizes, Place, Rows
from napari_sparse3d.sparse.engine import engine
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Window

# what torch itself says to arguments that are no tensors, or of a layout that it cannot read
FOREIGN = (TypeError, RuntimeError, NotImplementedError, AttributeError)
calls, problems = 0, []


# -- wrong arrays ----------------------------------------------------------------------------------


def resized(tensor, axis, length):
    pieces = list(tensor.shape)
    pieces[axis] = length
    made = torch.zeros(pieces, dtype=tensor.dtype)
    common = [slice(0, min(a, b)) for a, b in zip(pieces, tensor.shape, strict=True)]
    made[tuple(common)] = tensor[tuple(common)]
    return made


def other_sizes(tensor):
    for axis, length in enumerate(tensor.shape):
        for other in {0, 1, length - 1, length + 1, 2 * length + 1} - {length}:
            if other >= 0:
                yield f"axis {axis} of {other} not {length}", resized(tensor, axis, other)
    yield "one axis more", tensor[None]
    yield "one axis more at the end", tensor[..., None]
    yield "no axis", tensor.new_zeros(())
    if tensor.ndim > 1:
        yield "flat", tensor.flatten()
        turned = tensor.permute(*reversed(range(tensor.ndim)))
        if turned.shape != tensor.shape:
            yield "axes the other way round", turned
    elif len(tensor) > 1:
        yield "a column", tensor[:, None]


def other_types(tensor):
    floats = [torch.float16, torch.bfloat16, torch.float64, torch.float32, torch.complex64]
    for dtype in (*floats, torch.int64, torch.int32, torch.int16, torch.uint8, torch.bool):
        if dtype != tensor.dtype:
            yield f"as {dtype}", tensor.to(dtype)


def no_memory(tensor):
    if not tensor.numel():
        return
    gone = tensor.clone()
    gone.untyped_storage().resize_(0)
    yield "memory given back", gone


def no_arrays(tensor):
    yield "on meta", tensor.to("meta")
    yield "sparse", tensor.to_sparse()
    yield "text", "features"
    yield "a number", 3
    yield "an array", tensor.detach().numpy()
    yield "a list", tensor.tolist()


# -- the same array, otherwise stored --------------------------------------------------------------


def same(tensor):
    yield "every second", torch.stack([tensor, torch.full_like(tensor, 77)], -1)[..., 0]
    if tensor.ndim > 1:
        turned = list(reversed(range(tensor.ndim)))
        yield "stored the other way round", tensor.permute(turned).contiguous().permute(turned)
    yield "begins later", torch.cat([tensor.new_full((3,), 77), tensor.flatten()])[3:].view(tensor.shape)
    if tensor.is_floating_point():
        yield "sign still to be turned", torch._neg_view(-tensor)
        yield "with a gradient", tensor.clone().requires_grad_()
    with torch.inference_mode():
        yield "of inference", tensor.clone()


# -- the table -------------------------------------------------------------------------------------


class Scene:
    """Sites, geometries and arrays of one size."""

    def __init__(self, seed, side, sites, c_in, c_out):
        random = torch.Generator().manual_seed(seed)
        flat = torch.randperm(2 * side**3, generator=random)[:sites]
        axes = torch.stack([flat // side**3, flat // side**2 % side, flat // side % side, flat % side], 1)
        self.sites = axes.int().contiguous()
        self.shape = (side, side, side)
        self.conv = Window((2, 3, 2)).over(self.shape, 2)
        made = engine("native").output_sites(Sites(self.sites, self.shape, 2), self.conv)
        self.pool = Window((2, 2, 2), (2, 2, 2)).over(self.conv.out_shape, 2)
        self.made, self.pooled = made.indices, engine("native").output_sites(made, self.pool).indices
        self.c_in, self.c_out = c_in, c_out
        self._random = random

    def draw(self, *shape):
        return torch.randn(shape, generator=self._random)


def registered(s, name):
    """Each operator that torch knows: name, function, arguments, and the axes of arrays that are free to differ."""
    ops = torch.ops.sparse3d
    place = {"in_indices": s.sites, "out_indices": s.made, "geometry": s.conv.pack()}
    no_pool = {"slope": 0.25, "pool_indices": None, "pool_geometry": [], "engine": name}
    pool = {**no_pool, "pool_indices": s.pooled, "pool_geometry": s.pool.pack()}
    arrays = {
        "features": s.draw(len(s.sites), s.c_in), "weight": s.draw(s.c_out, 2, 3, 2, s.c_in),
        "bias": s.draw(s.c_out), "background": s.draw(s.c_in),
    }  # fmt: skip
    given = {"indices": s.sites, "geometry": s.conv.pack(), "engine": name}
    yield "output_sites", ops.output_sites, given, {"indices": {0}}
    free_sites = {"out_indices": {0}, "pool_indices": {0}}  # where a layer writes is the caller's choice
    yield "convolution", ops.convolution, {**arrays, **place, **no_pool}, {"out_indices": {0}}
    yield "convolution pooled", ops.convolution, {**arrays, **place, **pool}, free_sites
    inputs = {each: arrays[each] for each in ("features", "weight", "background")}
    for kind, how, at in (("", no_pool, s.made), (" pooled", pool, s.pooled)):
        values, rows, made = ops.convolution(**arrays, **place, **how)
        given = {
            "grad": s.draw(len(at), s.c_out), "grad_background": s.draw(s.c_out), "values": values,
            "rows": rows if kind else None, "forward_background": made, **inputs, "of_features": True,
        }  # fmt: skip
        # rows of a pool that name none of its inputs have no gradient
        free = {"out_indices": {0}} if kind else {}
        yield "convolution_backward" + kind, ops.convolution_backward, {**given, **place, **how}, free
    pool_place = {"in_indices": s.made, "out_indices": s.pooled, "geometry": s.pool.pack(), "engine": name}
    pool_inputs = {"features": s.draw(len(s.made), s.c_out), "background": s.draw(s.c_out)}
    yield "max_pool", ops.max_pool, {**pool_inputs, **pool_place}, {"out_indices": {0}}
    yield "avg_pool", ops.avg_pool, {**pool_inputs, **pool_place}, {"out_indices": {0}}
    _, rows = ops.max_pool(**pool_inputs, **pool_place)
    grad = s.draw(len(s.pooled), s.c_out)
    free_inputs = {"in_indices": {0}}
    yield "max_pool_backward", ops.max_pool_backward, {"grad": grad, "rows": rows, **pool_place}, {
        **free_inputs, "grad": {"type"},
    }  # fmt: skip
    given = {"grad": grad, "over_active": False, **pool_place}
    yield "avg_pool_backward", ops.avg_pool_backward, given, {**free_inputs, "grad": {1, "type"}}
    if not isinstance(engine(name), Normalizes):
        return
    vectors = {"weight": s.draw(s.c_in), "bias": s.draw(s.c_in)}
    norm = {"eps": 1e-3, "slope": 0.25, "engine": name}
    features = arrays["features"]
    given = {"features": features, **vectors, "other": s.draw(*features.shape), **norm}
    yield "batch_norm", ops.batch_norm, given, {}
    values, mean, variance = ops.batch_norm(**given)
    given = {
        "grad": s.draw(*features.shape), "values": values, "mean": mean, "variance": variance, "features": features,
        "weight": vectors["weight"], "of_other": True, **norm,
    }  # fmt: skip
    yield "batch_norm_backward", ops.batch_norm_backward, given, {}


def layers_of(s, weight1, bias1, weight2, bias2):
    first = Place(s.conv, False, s.pool)
    second = Place(Window.submanifold((3, 3, 3)).within(s.pool.out_shape, 2), True, None)
    return [Layer(first, weight1, bias1, 0.25), Layer(second, weight2, bias2, 0.25)]


def of_the_engine(s):
    """What the native engine offers beside the registered operators, and the operators as Python calls them."""
    native = engine("native")
    features, background = s.draw(len(s.sites), s.c_in), s.draw(s.c_in)
    weights = {
        "weight1": s.draw(s.c_out, 2, 3, 2, s.c_in), "bias1": s.draw(s.c_out),
        "weight2": s.draw(3, 3, 3, 3, s.c_out), "bias2": s.draw(3),
    }  # fmt: skip
    given = {"features": features, "background": background, **weights}

    def chain(features, background, indices, **weights):
        sites = Sites.of(indices, s.shape, 2)
        rows, out = operators.chain(Rows(features, background), sites, layers_of(s, **weights))
        return rows.features, out.indices, rows.background

    yield "chain", chain, {**given, "indices": s.sites}, {}
    _, plan = native.plan_chain(Sites(s.sites, s.shape, 2), [layer.place for layer in layers_of(s, **weights)])

    def run(features, background, **weights):
        return native.run_chain(Rows(features, background), layers_of(s, **weights), plan)

    def run_for_backward(features, background, **weights):
        return native.run_chain_for_backward(Rows(features, background), layers_of(s, **weights), plan)[:2]

    def run_backward(features, background, grad, grad_background, values, made, between, **weights):
        return native.run_chain_backward(
            Rows(grad, grad_background), FusedChain(values, made, between), Rows(features, background),
            layers_of(s, **weights), plan, [True] * 6,
        )  # fmt: skip

    yield "run_chain", run, given, {}
    yield "run_chain_for_backward", run_for_backward, given, {}
    kept = native.run_chain_for_backward(Rows(features, background), layers_of(s, **weights), plan)
    back = {
        **given, "grad": s.draw(*kept.values.shape), "grad_background": s.draw(3), "values": kept.values,
        "made": kept.background, "between": kept.between,
    }  # fmt: skip
    yield "run_chain_backward", run_backward, back, {}

    rows = s.draw(len(s.sites), s.c_in)
    yield "leaky_relu_backward", lambda grad, values: native.leaky_relu_backward(grad, values, 0.25), {
        "grad": rows, "values": s.draw(*rows.shape),
    }, {}  # fmt: skip
    scale = {"features": rows, "scale": s.draw(s.c_in), "shift": s.draw(s.c_in), "other": s.draw(*rows.shape)}
    yield "scale_rows", lambda features, scale, shift, other: native.scale_rows(
        features, scale, shift, other, slope=0.25
    ), scale, {}  # fmt: skip
    yield "operators.scale_rows", lambda features, scale, shift, other: (
        operators.scale_rows(features.detach(), scale.detach(), shift.detach(), other.detach(), slope=0.25)
    ), scale, {}  # fmt: skip

    def convolution(features, weight, bias, background, in_indices, out_indices, pool_indices):
        return operators.convolution(
            Rows(features, background), Filters(weight, bias), Sites.of(in_indices, s.shape, 2),
            Sites.of(out_indices, s.conv.out_shape, 2), s.conv, slope=0.25,
            pool=(Sites.of(pool_indices, s.pool.out_shape, 2), s.pool),
        )  # fmt: skip

    yield "operators.convolution", convolution, {
        "features": features, "weight": weights["weight1"], "bias": weights["bias1"], "background": background,
        "in_indices": s.sites, "out_indices": s.made, "pool_indices": s.pooled,
    }, {"out_indices": {0}, "pool_indices": {0}}  # fmt: skip


MODULES = {
    "SparseConv3d": lambda c: sparse.SparseConv3d(c, 5, (2, 3, 2)),
    "SubMConv3d": lambda c: sparse.SubMConv3d(c, 5, 3),
    "SparseConvTranspose3d": lambda c: sparse.SparseConvTranspose3d(c, 5, 3),
    "SparseMaxPool3d": lambda c: sparse.SparseMaxPool3d(2),
    "SparseAvgPool3d": lambda c: sparse.SparseAvgPool3d(2),
    "SparseBatchNorm eval": lambda c: sparse.SparseBatchNorm(c).eval(),
    "SparseBatchNorm train": lambda c: sparse.SparseBatchNorm(c),
    "GlobalAvgPool": lambda c: sparse.GlobalAvgPool(),
    "GlobalMaxPool": lambda c: sparse.GlobalMaxPool(),
    "dense": lambda c: SparseTensor.dense,
    "SparseSequential": lambda c: sparse.SparseSequential(
        sparse.SubMConv3d(c, 6, 3), torch.nn.ReLU(), sparse.SparseMaxPool3d(2), sparse.SparseBatchNorm(6),
        torch.nn.LeakyReLU(0.1), sparse.SparseConv3d(6, 4, 2),
    ),
}  # fmt: skip
ANY_CHANNELS = {"SparseMaxPool3d", "SparseAvgPool3d", "GlobalAvgPool", "GlobalMaxPool", "dense"}


def of_modules(s):
    """Tensors that were put together past the checks of ``SparseTensor``; and modules whose weights were replaced."""
    for name, make in MODULES.items():
        for background in (s.draw(s.c_in), None):
            module = make(s.c_in)
            given = {"features": s.draw(len(s.sites), s.c_in), "indices": s.sites}
            if background is not None:
                given["background"] = background

            def run(features, indices, background=None, module=module):
                x = SparseTensor(s.draw(len(s.sites), s.c_in), s.sites, s.shape, 2)
                x.features, x.indices, x.background = features, indices, background
                made = module(x)
                return (made.features, made.background) if isinstance(made, SparseTensor) else made

            free = {"features": {1, "type"}} if name in ANY_CHANNELS and background is None else {}
            yield f"{name}, {'no ' if background is None else ''}background", run, given, free
            if isinstance(module, torch.nn.Module) and name != "SparseSequential":
                yield from with_other_weights(s, name, module, background)

    def constructed(features, indices, background):
        return SparseTensor(features, indices, s.shape, 2, background).features

    yield "SparseTensor", constructed, {
        "features": s.draw(len(s.sites), s.c_in), "indices": s.sites, "background": s.draw(s.c_in),
    }, {}  # fmt: skip

    norm = sparse.SparseBatchNorm(s.c_in).eval()

    def normalize(features, other):
        x = SparseTensor(s.draw(len(s.sites), s.c_in), s.sites, s.shape, 2)
        y = SparseTensor(s.draw(len(s.sites), s.c_in), s.sites, s.shape, 2)
        y.indices, x.features, y.features = x.indices, features, other
        with torch.no_grad():
            return norm.normalize(x, slope=0.0, other=y).features

    def added(features, other):
        x = SparseTensor(s.draw(len(s.sites), s.c_in), s.sites, s.shape, 2)
        y = SparseTensor(s.draw(len(s.sites), s.c_in), s.sites, s.shape, 2)
        x.features, y.features = features, other
        return (x + y).features

    two = {"features": s.draw(len(s.sites), s.c_in), "other": s.draw(len(s.sites), s.c_in)}
    yield "normalize with other", normalize, two, {}
    yield "sum", added, two, {}

    def pointwise(rows):
        class Replacing(torch.nn.Module):
            def forward(self, features):
                return rows if len(features) == len(s.sites) else features

        return sparse.pointwise(Replacing(), SparseTensor(s.draw(len(s.sites), 2), s.sites, s.shape, 2)).features

    yield "pointwise", pointwise, {"rows": s.draw(len(s.sites), s.c_in)}, {"rows": {1}}


def with_other_weights(s, name, module, background):
    weights = {key: value.detach().clone() for key, value in (*module.named_parameters(), *module.named_buffers())}
    weights.pop("num_batches_tracked", None)
    if not weights:
        return
    features = s.draw(len(s.sites), s.c_in)

    def run(**given):
        copy = MODULES[name](s.c_in)
        for key, value in given.items():
            (copy._parameters if key in copy._parameters else copy._buffers)[key] = value
        made = copy(SparseTensor(features, s.sites, s.shape, 2, background))
        return made.features, made.background

    yield f"{name} with other weights", run, weights, {}


# -- one call --------------------------------------------------------------------------------------


def flat(result):
    if isinstance(result, torch.Tensor):
        return [result.detach()]
    return [each for one in result for each in flat(one)] if isinstance(result, tuple | list) else []


def refused(label, function, given, allowed=(), unless=None):
    """``unless`` the result is this one, but for the rounding of another type."""
    global calls
    calls += 1
    print(label, file=sys.stderr, flush=True)
    try:
        made = flat(function(**given))
    except (InputError, *allowed):
        return
    except Exception as error:
        problems.append(f"{label}: {type(error).__name__}: {str(error)[:150]}")
        return
    if any(each.is_meta for each in made):
        return  # a shape, and nothing that could be taken for a value
    if unless is not None and len(made) == len(unless) and all(map(close, made, unless)):
        return
    problems.append(f"{label}: not refused")


def close(made, expected):
    made = made.to_dense() if made.layout != torch.strided else made
    return made.shape == expected.shape and torch.allclose(made.float(), expected.float(), rtol=0.05, atol=0.05)


def unchanged(label, function, given, expected, agree=torch.equal):
    global calls
    calls += 1
    print(label, file=sys.stderr, flush=True)
    try:
        made = flat(function(**given))
    except Exception as error:
        problems.append(f"{label}: {type(error).__name__}: {str(error)[:150]}")
        return
    if len(made) != len(expected) or not all(map(agree, made, expected)):
        problems.append(f"{label}: another result")


NOT_OPTIONAL = {"features", "weight1", "weight2", "in_indices", "out_indices", "indices", "grad", "rows", "scale"}


def check(name, function, given, free, *, types=True, memory=True):
    expected = [each.clone() for each in flat(function(**given))]
    for argument, value in given.items():
        label = f"{name}: {argument}"
        if isinstance(value, torch.Tensor):
            for what, wrong in other_sizes(value):
                changed = {at for at in range(value.ndim) if wrong.ndim == value.ndim and what.startswith(f"axis {at}")}
                if changed and changed <= free.get(argument, set()):
                    continue
                refused(f"{label}, {what}", function, {**given, argument: wrong})
            if types:
                for what, wrong in other_types(value):
                    if "type" in free.get(argument, set()) and wrong.dtype == torch.float64:
                        continue
                    # where torch does the work, it takes other floating-point types as well
                    unless = None if memory or not wrong.is_floating_point() else expected
                    allowed = () if memory else FOREIGN
                    refused(f"{label}, {what}", function, {**given, argument: wrong}, allowed, unless=unless)
            if types and memory:
                for what, wrong in no_memory(value):
                    refused(f"{label}, {what}", function, {**given, argument: wrong})
            for what, wrong in no_arrays(value):
                unless = None if memory else expected
                refused(f"{label}, {what}", function, {**given, argument: wrong}, FOREIGN, unless=unless)
            if argument in NOT_OPTIONAL and name != "convolution_backward":
                refused(f"{label}, None", function, {**given, argument: None}, FOREIGN)
            for what, twin in same(value):
                if what == "of inference" and not types:  # torch's own autograd, by which the others work, takes none
                    continue
                unchanged(
                    f"{label}, {what}", function, {**given, argument: twin}, expected, torch.equal if types else close
                )
        elif argument.endswith("geometry") and value:
            for wrong in ([], value[:1], value[:-1], [*value, 0], ["a"] * 20, None):
                refused(f"{label} {wrong}", function, {**given, argument: wrong}, FOREIGN)
            for at in range(20):
                for number in (-1, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**70):
                    if at == 19 or (6 <= at < 9 and number == 2**31 - 1):
                        continue
                    wrong = [*value[:at], number, *value[at + 1 :]]
                    refused(f"{label}[{at}] = {number}", function, {**given, argument: wrong}, (*FOREIGN, ValueError))
        elif argument in ("slope", "eps"):
            for wrong in (-0.5, float("nan"), float("inf")):
                refused(f"{label} {wrong}", function, {**given, argument: wrong})
        elif argument == "engine":
            for wrong in ("", "nobody", None, 3):
                refused(f"{label} {wrong}", function, {**given, argument: wrong}, FOREIGN)


def check_scene(scene, engines):
    with torch.no_grad():
        for name in engines:
            for label, function, given, free in registered(scene, name):
                check(f"{name} {label}", function, given, free, types=name == "native")
        if "native" not in engines:
            return
        for label, function, given, free in of_the_engine(scene):
            check(label, function, given, free)
        for label, function, given, free in of_modules(scene):
            check(label, function, given, free, memory=False)  # some call torch first, which reads where nothing is


def main(examples, *engines):
    @settings(
        max_examples=int(examples), deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        seed=st.integers(0, 1000), side=st.integers(5, 9), sites=st.integers(3, 60), c_in=st.integers(2, 9),
        c_out=st.integers(2, 40),
    )  # fmt: skip
    def run(seed, side, sites, c_in, c_out):
        check_scene(Scene(seed, side, sites, c_in, c_out), engines)

    run()
    for problem in dict.fromkeys(problems):
        print(problem)
    print(f"{calls} calls, {len(set(problems))} problems", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
