"""Trees and proofs are those of RFC 9162."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.merkle import (
    EMPTY,
    Tree,
    consistency,
    inclusion,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root_of,
)

# The leaves and roots that implementations of certificate transparency check each other with (RFC 6962: the same).
ENTRIES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
LEAVES = [leaf_hash(bytes.fromhex(entry)) for entry in ENTRIES]


def root(leaves: list[bytes], begin: int, end: int) -> bytes:
    return root_of(leaves[begin:end])


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_that_others_have(size):
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_root_of_nothing_is_the_hash_of_nothing():
    assert Tree().root == EMPTY and EMPTY.hex().startswith("e3b0c442")


def test_the_example_of_the_rfc_has_its_proofs():
    """RFC 9162, 2.1.5: seven leaves, a to g their hashes and d6 j, h to l the nodes above."""
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l = node_hash(g, h), node_hash(i, j)  # noqa: E741 as the RFC calls them
    assert root_of(LEAVES[:7]) == node_hash(k, l)
    roots = partial(root, LEAVES[:7])
    assert [inclusion(at, 7, roots) for at in (0, 3, 4, 6)] == [[b, h, l], [c, g, l], [f, j, k], [i, k]]
    assert [consistency(size, 7, roots) for size in (3, 4, 6)] == [[c, d, g, l], [l], [i, j, k]]


@given(st.integers(1, 70), st.data())
def test_every_proof_holds_and_no_other_does(size, data):
    leaves = [leaf_hash(b"%d" % n) for n in range(size)]
    at, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    roots, whole = partial(root, leaves), root_of(leaves)
    proof = inclusion(at, size, roots)
    assert is_included(leaves[at], at, size, proof, whole)
    assert not is_included(leaf_hash(b"other"), at, size, proof, whole)
    assert not is_included(leaves[at], at, size, [*proof, EMPTY], whole)
    assert not proof or not is_included(leaves[at], at, size, proof[:-1], whole)
    assert at + 1 == size or not is_included(leaves[at], at + 1, size, proof, whole)
    proof, before = consistency(first, size, roots), root_of(leaves[:first])
    assert is_consistent(first, size, proof, before, whole)
    assert not is_consistent(first, size, [*proof, EMPTY], before, whole)
    assert not proof or not is_consistent(first, size, proof[:-1], before, whole)
    forged = [leaf_hash(b"forged"), *leaves[1:]]
    assert first == 0 or not is_consistent(first, size, proof, root_of(forged[:first]), whole)
    assert first == 0 or not is_consistent(first, size, proof, before, root_of(forged))


@given(st.integers(0, 300))
def test_a_tree_that_grows_leaf_by_leaf_has_the_root_of_the_whole(size):
    tree = Tree()
    for n in range(size):
        tree.add(leaf_hash(b"%d" % n))
    assert Tree(tree.size, tree.peaks).root == tree.root == root_of(leaf_hash(b"%d" % n) for n in range(size))


def test_peaks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="2 peaks"):
        Tree(3, [EMPTY])


@pytest.mark.parametrize(("first", "second"), [(-1, 3), (4, 3), (0, 3)])
def test_what_cannot_be_is_not_consistent(first, second):
    assert not is_consistent(first, second, [EMPTY], EMPTY, EMPTY)
