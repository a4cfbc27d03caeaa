"""Is this the same log, only longer? Merkle trees as in RFC 9162: roots, inclusion proofs, consistency proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that only grows, as the roots of its whole subtrees from left to right: log₂ of its size in hashes."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """Raises ValueError when so many peaks cannot be of that size."""
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} has {size.bit_count()} peaks, not {len(self.peaks)}")

    def add(self, leaf: bytes) -> None:
        peaks, size = self.peaks, self.size
        while size & 1:
            leaf = node_hash(peaks.pop(), leaf)
            size >>= 1
        peaks.append(leaf)
        self.size += 1

    @property
    def root(self) -> bytes:
        if not self.peaks:
            return EMPTY
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root


# --- proofs: `root(begin, end)` is the root of those leaves

Roots = Callable[[int, int], bytes]


def inclusion(at: int, size: int, root: Roots) -> list[bytes]:
    """That leaf `at` is in the tree of `size`: the siblings on its way up (RFC 9162, 2.1.3.1)."""
    return _inclusion(at, 0, size, root)


def _inclusion(at: int, begin: int, end: int, root: Roots) -> list[bytes]:
    if end - begin == 1:
        return []
    middle = begin + _split(end - begin)
    if at < middle:
        return [*_inclusion(at, begin, middle, root), root(middle, end)]
    return [*_inclusion(at, middle, end, root), root(begin, middle)]


def consistency(first: int, second: int, root: Roots) -> list[bytes]:
    """That the tree of `second` begins with that of `first` (RFC 9162, 2.1.4.1)."""
    return [] if first in (0, second) else _consistency(first, 0, second, root, whole=True)


def _consistency(first: int, begin: int, end: int, root: Roots, *, whole: bool) -> list[bytes]:
    if first == end:
        return [] if whole else [root(begin, end)]
    middle = begin + _split(end - begin)
    if first <= middle:
        return [*_consistency(first, begin, middle, root, whole=whole), root(middle, end)]
    return [*_consistency(first, middle, end, root, whole=False), root(begin, middle)]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def is_included(leaf: bytes, at: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, 2.1.3.2."""
    if not 0 <= at < size:
        return False
    fn, sn, found = at, size - 1, leaf
    for step in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            found = node_hash(step, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and found == root


def is_consistent(first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes) -> bool:
    """RFC 9162, 2.1.4.2; of an empty tree, any other is the continuation."""
    if not 0 <= first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    if first == 0:
        return not proof and first_root == EMPTY
    steps = list(proof)
    if first & (first - 1) == 0:
        steps.insert(0, first_root)
    if not steps:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old, new = node_hash(step, old), node_hash(step, new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and old == first_root and new == second_root
