"""The holes in the zygote's memory, filled: then nodes write beside what they share.

What a node allocates goes where a block is free, and each free block between blocks that all nodes
share costs it a page of its own. When there are no such blocks, it begins on pages that are new
anyway, one after the other. Measured: 0.2 MiB of an idle node.

Invariants
----------
* What fills a hole is never freed and never written again.
* It ends, whatever the allocator does: no hole is worth more than `_MOST_BLOCKS`.

Source: CPython, ``Objects/obmalloc.c``: pools of 16 KiB, each with blocks of one size up to 512
bytes; malloc(3): what is larger comes from the heap, which grows at its top.
"""

import ctypes
from itertools import pairwise
from typing import Final

_POOL_BYTES: Final = 16 * 1024
_POOL_HEAD_BYTES: Final = 48
_STEP_BYTES: Final = 16
_POOLED_BYTES: Final = 512
_BYTES_HEAD: Final = 33
_BATCH: Final = 37  # no pool holds a multiple of it
_MOST_BLOCKS: Final = 20_000
_END_BYTES: Final = 256 * 1024  # what there is above the last hole
_HEAP_BYTES: Final = (96 * 1024, 24)  # larger ones are mapped apart, smaller ones not given out

_filling: list[object] = []


def fill_holes() -> None:
    """No pool has a free block, and the heap none below its top. Takes 3 ms."""
    for size in range(_STEP_BYTES, _POOLED_BYTES + 1, _STEP_BYTES):
        _fill_pools(size)
    _fill_heap()


def _fill_pools(size: int) -> None:
    for _ in range(_MOST_BLOCKS // _BATCH):
        blocks = [_block(size) for _ in range(_BATCH)]
        _filling.append(blocks)
        if any(  # a pool gives its blocks in order while it is new
            id(one) % _POOL_BYTES == _POOL_HEAD_BYTES and id(other) == id(one) + size
            for one, other in pairwise(blocks)
        ):
            return


def _block(size: int) -> object:
    if size == 16:
        return object()
    if size == 32:
        return float(len(_filling))
    return bytes(size - _BYTES_HEAD)


def _fill_heap() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    end = libc.sbrk(0) or 0
    size, least = _HEAP_BYTES
    top = 0
    for _ in range(_MOST_BLOCKS):
        block = libc.malloc(size)
        if block is None:
            return
        if not top and block < end - _END_BYTES:
            continue
        top = top or block
        if block >= top:
            libc.free(block)
            size = size * 7 // 8
            if size < least:
                return
