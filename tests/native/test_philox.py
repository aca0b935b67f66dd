# SPDX-License-Identifier: Apache-2.0
"""Philox against the known answers of its authors, and the emitted generator against the NumPy one, bit for bit."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from chainrule.native.llvm.philox import emit_philox4x32_10, emit_random_bits, emit_random_run
from chainrule.ops.philox import philox4x32, random_bits

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

I32, I64 = ir.IntType(32), ir.IntType(64)
STATE = np.array([0xA4093822, 0x299F31D0, 7, 0xFFFFFFFE], np.uint32)

# counter, key, answer: the vectors that the authors publish with Random123
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
     [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
]


def run_kernel(fill, *arrays: np.ndarray) -> None:
    """Compile a function of one pointer for each array, whose body `fill(builder, pointers)` emits, and call it."""
    module = ir.Module()
    types = [ir.IntType(8 * a.itemsize).as_pointer() for a in arrays]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), "kernel")
    builder = ir.IRBuilder(function.append_basic_block())
    fill(builder, function.args)
    builder.ret_void()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2)
    module.triple = llvm.get_default_triple()
    parsed = llvm.parse_assembly(str(module))
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(engine.get_function_address("kernel"))
    call(*(a.ctypes.data for a in arrays))


def vector(builder, pointer, width: int, offset: int = 0):
    """A pointer to `width` elements, `offset` elements further on."""
    lanes = ir.VectorType(pointer.type.pointee, width) if width > 1 else pointer.type.pointee
    return builder.bitcast(builder.gep(pointer, [I64(offset)]), lanes.as_pointer())


def load_state(builder, pointer):
    return [builder.load(builder.gep(pointer, [I64(i)])) for i in range(4)]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_numpy_generator_gives_the_published_answers(counter, key, answer):
    words = philox4x32([np.uint32([c]) for c in counter], np.uint32(key))
    assert [int(word[0]) for word in words] == answer
    assert all(word.dtype == np.uint32 for word in words)


@pytest.mark.parametrize("width", [1, 4, 8, 16])
def test_emitted_generator_gives_the_published_answers(width):
    for counter, key, answer in KNOWN:
        inputs = np.repeat(np.array([*counter, *key], np.uint32), width)
        out = np.zeros(4 * width, np.uint32)

        def fill(builder, args):
            words = [builder.load(vector(builder, args[0], width, i * width), align=4) for i in range(6)]
            for i, word in enumerate(emit_philox4x32_10(builder, *words)):
                builder.store(word, vector(builder, args[1], width, i * width), align=4)

        run_kernel(fill, inputs, out)
        np.testing.assert_array_equal(out, np.repeat(np.array(answer, np.uint32), width))


@pytest.mark.parametrize("width", [1, 4, 8, 16])
def test_emitted_elements_are_those_of_the_stream(width):
    index = np.arange(width, dtype=np.int64)[::-1].copy() * 3 + 1
    out = np.zeros(width, np.uint32)

    def fill(builder, args):
        indices = builder.load(vector(builder, args[0], width), align=8)
        bits = emit_random_bits(builder, indices, load_state(builder, args[1]))
        builder.store(bits, vector(builder, args[2], width), align=4)

    run_kernel(fill, index, STATE, out)
    np.testing.assert_array_equal(out, random_bits(STATE, 64)[index])


def test_elements_beyond_32_bits_of_blocks_use_the_second_counter_word():
    index = np.array([(5 << 34) + 6], np.int64)
    out = np.zeros(1, np.uint32)

    def fill(builder, args):
        bits = emit_random_bits(builder, builder.load(args[0]), load_state(builder, args[1]))
        builder.store(bits, args[2])

    run_kernel(fill, index, STATE, out)
    words = philox4x32([np.uint32([1]), np.uint32([5]), STATE[2], STATE[3]], STATE[:2])
    assert out[0] == words[2][0]


@pytest.mark.parametrize("width", [2, 4, 8, 16])
def test_a_run_is_the_stream_in_order(width):
    out, first = np.zeros(4 * width, np.uint32), np.array([12], np.int64)

    def fill(builder, args):
        parts = emit_random_run(builder, builder.load(args[0]), width, load_state(builder, args[1]))
        for i, part in enumerate(parts):
            builder.store(part, vector(builder, args[2], width, i * width), align=4)

    run_kernel(fill, first, STATE, out)
    np.testing.assert_array_equal(out, random_bits(STATE, 100)[12 : 12 + 4 * width])


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 1000])
def test_a_shorter_request_is_a_prefix(count):
    np.testing.assert_array_equal(random_bits(STATE, count), random_bits(STATE, 1003)[:count])


def test_bits_are_uniform_and_streams_differ():
    bits = random_bits(STATE, 100_000)
    share = np.unpackbits(bits.view(np.uint8)).mean()
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(32 * bits.size)
    other = random_bits(STATE + np.array([0, 0, 1, 0], np.uint32), 100_000)
    assert np.count_nonzero(bits == other) < 5
