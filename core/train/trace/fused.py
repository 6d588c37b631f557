"""What a compiled layer takes: its graphs as they are divided for it, and a count of the memory they need.

What a layer keeps for its backward pass is decided before any kernel is made, by the engine's policy and by
torch's partitioner; the same two decide here. What comes and goes inside a graph depends on which ops share a
kernel. Assumed of the compiler:

- A value that costs a number of its own for each element (sums, products, copies, norms, rotations) has no
  memory, but is made again wherever it is wanted, unless an op that is no such thing reads it (a matrix
  product, an attention, an op of ours), or the graph gives it away, or it is a sum over many.
- A softmax that has no memory goes backward by way of a product in fp32, which is written where more than
  READS memories are read for it: its own, the sums and maxima of its rows, and the gradient. Where weights
  learn, that kernel gives the softmax and its gradient too, in no place of another (read off the code that is
  made for Gemma 2).
- An op's memory is there from its place in the graph to the place where it is read last, and that of a value
  which costs a number for each element takes the place of one of the same size that is read there last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch.utils._pytree import tree_leaves

from core.train.trace.card import workspace
from core.train.trace.live import BLOCK, Live

REDUCES = ("sum", "mean", "amax", "amin", "max", "min", "var", "var_mean", "prod", "any", "all", "argmax")
"""Ops whose result is small, and is written once."""
EACH = (
    *("_to_copy", "clone", "cat", "stack", "full", "full_like", "zeros", "ones", "zeros_like", "ones_like"),
    *(
        "empty",
        "arange",
        "scalar_tensor",
        "slice_backward",
        "select_backward",
        "constant_pad_nd",
        "embedding",
    ),
    *("index", "gather", "index_select", "repeat", "roll", "flip", "tril", "triu", "one_hot", "fill"),
    *("native_layer_norm", "native_layer_norm_backward", "_fused_rms_norm", "_fused_rms_norm_backward"),
    *("_softmax", "_log_softmax", "_softmax_backward_data", "_log_softmax_backward_data", "glu", "where"),
    *("silu_backward", "gelu_backward", "unfold_backward", "new_zeros", "new_full", "new_empty", "copy"),
)
"""Ops that cost a number for each element and are not marked as such by torch."""


READS = 4
"""Memories that are read again for a value which is wanted twice; of more the value is written (inductor's
`realize_reads_threshold`)."""
BACK = "aten::_softmax_backward_data"


@dataclass
class Memory:
    """One memory of a graph."""

    made: int
    """The place at which it is there; -1: from the beginning."""
    size: int
    last: int = -1
    given: bool = False
    """It is there when the graph is done."""
    each: bool = False
    """Its kernel costs a number for each element, so it may take the place of what it reads."""


def compiled(run: Callable[..., Any], mode: Live, learns: bool) -> Callable[..., Any]:
    """`run` as the compiler would make it, as far as memory goes. `learns`: its weights do."""
    made = partial(_program, mode, learns=learns)
    backend = aot_autograd(
        fw_compiler=made,
        bw_compiler=made,
        inference_compiler=made,
        partition_fn=partial(min_cut_rematerialization_partition, compiler="inductor"),
    )
    return torch.compile(run, backend=backend, fullgraph=True)


def _program(
    mode: Live, graph: fx.GraphModule, _examples: Sequence[Any], *, learns: bool = False
) -> Callable[..., Any]:
    """A function that gives what the graph gives and takes the memory that it would take."""
    nodes = list(graph.graph.nodes)
    inputs = [_key(node.meta.get("val")) for node in nodes if node.op == "placeholder"]
    (output,) = [node for node in nodes if node.op == "output"]
    given = [one.meta.get("val") if isinstance(one, fx.Node) else one for one in tree_leaves(output.args[0])]
    memories = lifetimes(nodes, learns)
    passed = {_key(one) for one in given}

    def run(args: list[Any]) -> list[Any]:
        made = {key: one for key, one in zip(inputs, args, strict=True) if key and key in passed}
        counted = [mode.name(one) if isinstance(one, Tensor) else None for one in args]
        args.clear()
        gone = {key for key, name in zip(inputs, counted, strict=True) if key and name and not mode.has(name)}
        if mode.counting:
            mode.look(highest(memories, gone), "loss" if mode.label == "loss" else "live")
        return [_given(one, made) for one in given]

    run._boxed_call = True  # type: ignore[attr-defined]  # its list of arguments is emptied
    return run


def _given(value: Any, made: dict[int, Tensor]) -> Any:
    """An output: a tensor of that form, on the memory that it shares with an input or another output."""
    key = _key(value)
    if key is None:
        return _number(value)
    size, stride = [_number(n) for n in value.size()], [_number(n) for n in value.stride()]
    if key not in made:
        room = _number(value.untyped_storage().nbytes())
        if room == _number(value.numel()) * value.element_size():
            made[key] = torch.empty_strided(size, stride, dtype=value.dtype)
            return made[key]
        made[key] = torch.empty(room // value.element_size(), dtype=value.dtype)
    return made[key].as_strided(size, stride, _number(value.storage_offset()))


def lifetimes(nodes: Sequence[fx.Node], learns: bool = False) -> dict[int, Memory]:
    """Memories of a graph by the name of their storage, with those that no kernel writes left out. `learns`:
    weights do."""
    found: dict[int, Memory] = {}
    reads: dict[int, set[int]] = {}
    """Of a value that has no memory: the memories it is made of."""
    real: set[int] = {key for node in nodes for key in _wanted(node)}
    for place, node in enumerate(nodes):
        sources = {key for one in node.all_input_nodes for key in _keys(one.meta.get("val"))}
        deep = {memory for key in sources for memory in reads.get(key, {key})}
        if node.op == "output":
            for key in sources:
                if key in found:
                    found[key].given = True
            continue
        each = is_each(node)
        written = False
        for value in _tensors(node.meta.get("val")):
            (name,) = _keys(value)
            if name in found or name in reads or name in sources:
                continue
            small = each and is_reduction(node)
            if node.op == "placeholder":
                found[name] = Memory(-1, _storage(value))
            elif each and not small and name not in real:
                reads[name] = deep
            else:
                found[name] = Memory(place, _storage(value), place, each=each and not small)
                written = True
        own = _workspace(node) + _product(node, reads, learns)
        if own:
            found[-1 - place] = Memory(place, own, place)
        if node.op == "call_function" and (written or not each):
            for key in deep:
                if key in found:
                    found[key].last = max(found[key].last, place)
    return found


def _workspace(node: fx.Node) -> int:
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return 0
    values = [one.meta.get("val") if isinstance(one, fx.Node) else one for one in node.args]
    return workspace(node.target, values)


def _product(node: fx.Node, reads: dict[int, set[int]], learns: bool) -> int:
    """Bytes of a softmax, which is nowhere, times its gradient, and what is there beside it; 0: of anything
    else."""
    if node.op != "call_function" or getattr(node.target, "_schema", None) is None:
        return 0
    if node.target._schema.name != BACK:
        return 0
    gradient, softmax = node.all_input_nodes[:2]
    (key,) = _keys(softmax.meta["val"])
    rows = 2  # its maxima and its sums
    wanted = reads.get(key, set()).union(*(reads.get(one, {one}) for one in _keys(gradient.meta["val"])))
    if key not in reads or len(wanted) + rows <= READS:
        return 0
    made_of = [gradient, *gradient.all_input_nodes]  # the gradient comes cast to fp32
    width = min(value.element_size() for one in made_of for value in _tensors(one.meta.get("val")))
    beside = 2 * width if learns else 0
    return _number(softmax.meta["val"].numel()) * (4 + beside)


def highest(memories: dict[int, Memory], gone: set[int]) -> int:
    """The most bytes at any place, above what is there from the beginning but for the inputs `gone`."""
    starts: dict[int, list[Memory]] = {}
    ends: dict[int, list[Memory]] = {}
    now = 0
    for key, one in memories.items():
        if one.made < 0:
            if key not in gone:
                continue
            now += one.size
        else:
            starts.setdefault(one.made, []).append(one)
        if not one.given:
            ends.setdefault(one.last, []).append(one)
    most = now
    now -= sum(one.size for one in ends.pop(-1, []))
    for place in sorted({*starts, *ends}):
        leaves = ends.get(place, [])
        for one in starts.get(place, []):
            taken = next((old for old in leaves if old.made < place and old.size == one.size), None)
            if one.each and taken:
                leaves.remove(taken)
                continue
            now += one.size
            most = max(most, now)
        now -= sum(one.size for one in leaves)
    return most


def _wanted(node: fx.Node) -> list[int]:
    """What must be in memory for this node: all that it reads, if it is no op of single elements."""
    if node.op == "output" or (node.op == "call_function" and not is_each(node) and not _is_view(node)):
        return [key for one in node.all_input_nodes for key in _keys(one.meta.get("val"))]
    return []


def is_each(node: fx.Node) -> bool:
    """Whether the compiler makes the op part of a kernel with others."""
    target = node.target
    if node.op != "call_function" or not isinstance(target, torch._ops.OpOverload):
        return False
    name = target._schema.name
    return name.startswith("aten::") and (
        torch.Tag.pointwise in target.tags or name[6:] in EACH or name[6:] in REDUCES
    )


def is_reduction(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.name[6:] in REDUCES


def _is_view(node: fx.Node) -> bool:
    """Whether all that it makes lies in the memory of what it reads, or is picked from several results."""
    sources = {key for one in node.all_input_nodes for key in _keys(one.meta.get("val"))}
    return all(key in sources for key in _keys(node.meta.get("val")))


def _tensors(value: Any) -> list[Tensor]:
    return [one for one in tree_leaves(value) if isinstance(one, Tensor)]


def _keys(value: Any) -> list[int]:
    return [key for one in _tensors(value) if (key := _key(one)) is not None]


def _key(value: Any) -> int | None:
    """What names a tensor's memory within a graph."""
    return value.untyped_storage()._cdata if isinstance(value, Tensor) else None


def _storage(value: Tensor) -> int:
    return -(-_number(value.untyped_storage().nbytes()) // BLOCK) * BLOCK


def _number(value: Any) -> Any:
    """A size that is a letter in the graph as the number that it was traced with."""
    if isinstance(value, torch.SymInt):
        hint = value.node.hint
        return int(hint) if hint is not None else int(value)
    return value
