"""Golden data of the base, tensor and io tests: block formats as gguf unpacks and packs them, conversions as numpy does
them, and small files as gguf, safetensors and numpy write them. Philox's vectors are printed, for tests/test_base.c.

    python scripts/golden/make_io_golden.py tests/data/io
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

BLOCKS = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K".split()
# Where the f16 scales of a block lie, in bytes.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def write_blocks(folder, rng):
    """block_<type>.bin: random blocks, then their values as f32."""
    for name in BLOCKS:
        kind = gguf.GGMLQuantizationType[name]
        size, width = gguf.GGML_QUANT_SIZES[kind]
        count = 32 if size == 32 else 8
        blocks = rng.integers(0, 256, (count, width), dtype=np.uint8)
        for at in SCALES[name]:
            scales = (rng.standard_normal(count) * 10.0 ** rng.uniform(-7, 2, count)).astype("<f2")
            scales[0] = 0
            blocks[:, at : at + 2] = scales.view(np.uint8).reshape(count, 2)
        values = dequantize(blocks.reshape(-1), kind).astype("<f4")
        (folder / f"block_{name.lower()}.bin").write_bytes(blocks.tobytes() + values.tobytes())


def write_packed(folder, rng):
    """pack.bin: 64 blocks of 32 f32, then the same as q8_0, q4_0 and q4_1."""
    values = rng.standard_normal((64, 32)) * 10.0 ** rng.uniform(-4, 3, (64, 1))
    values[0] = 0  # no scale
    values[1] = 3.25  # all equal
    values[2] = np.arange(32) - 16  # ties of rounding
    values[3] = np.linspace(-127, 127, 32).round() + 0.5
    values = values.astype("<f4")
    packed = [quantize(values, gguf.GGMLQuantizationType[t]).tobytes() for t in ("Q8_0", "Q4_0", "Q4_1")]
    (folder / "pack.bin").write_bytes(values.tobytes() + b"".join(packed))


def write_f16(folder, rng):
    """f16.bin: 2048 f64, many next to a tie, then the same as f16."""
    halves = rng.integers(0, 0x7C00, 1024).astype(np.uint16).view(np.float16).astype(np.float64)
    above = (halves.astype(np.float16).view(np.uint16) + 1).view(np.float16).astype(np.float64)
    above[~np.isfinite(above)] = 65536
    ties = (halves + above) / 2
    values = np.concatenate([ties[:512], np.nextafter(ties[512:768], np.inf), np.nextafter(ties[768:], 0),
                             rng.standard_normal(1024) * 10.0 ** rng.uniform(-9, 6, 1024)])
    values *= rng.choice([-1.0, 1.0], values.size)
    with np.errstate(over="ignore"):
        (folder / "f16.bin").write_bytes(values.astype("<f8").tobytes() + values.astype("<f2").tobytes())


def write_gguf(folder, rng):
    writer = gguf.GGUFWriter(folder / "small.gguf", "llama")
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_float32("t.f32", 0.5)
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", "Grüße\0!")
    writer.add_uint64("t.u64", 2**63 + 5)
    writer.add_int64("t.i64", -(2**62))
    writer.add_float64("t.f64", 1e300)
    writer.add_float32("t.whole", 3.0)
    writer.add_array("t.strings", ["", "a", "bc", "日本"])
    writer.add_array("t.i32s", [1, -2, 3])
    writer.add_array("t.f32s", [0.5, 1.5])
    writer.add_array("t.bools", [True, False])
    q = quantize(rng.standard_normal((2, 64)).astype(np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("token_embd.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("blk.0.attn_q.weight", q, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blk.0.half", np.array([1, -2, 0.5], dtype=np.float16))
    writer.add_tensor("blk.0.ids", np.array([[7, 8]], dtype=np.int32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_safetensors(folder):
    tensors = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.array([1, 2], dtype=np.float16),
               "ids": np.array([-1, 2**40], dtype=np.int64), "mask": np.array([True, False, True]),
               "scalar": np.array(2.5, dtype=np.float32), "none": np.zeros((0, 4), dtype=np.float32)}
    save_file(tensors, folder / "small.safetensors", metadata={"format": "pt", "step": "12"})
    shards = folder / "sharded"
    shards.mkdir(exist_ok=True)
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    save_file({"x": tensors["a.weight"]}, shards / names[0], metadata={"format": "pt"})
    save_file({"y": tensors["ids"], "z": tensors["a.bias"]}, shards / names[1], metadata={"format": "pt"})
    index = {"metadata": {"total_size": 44}, "weight_map": {"x": names[0], "y": names[1], "z": names[1]}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))


def write_npy(folder):
    np.save(folder / "f32.npy", np.arange(6, dtype=np.float32).reshape(2, 3) / 4)
    np.save(folder / "scalar_u8.npy", np.array(7, dtype=np.uint8))
    np.save(folder / "fortran.npy", np.asfortranarray(np.zeros((2, 3), dtype=np.float32)))
    np.save(folder / "big_endian.npy", np.zeros(3, dtype=">f4"))
    with open(folder / "version2.npy", "wb") as f:
        np.lib.format.write_array(f, np.array([-1, 2**40], dtype=np.int64), version=(2, 0))


def philox(counter, key):
    """Philox-4x32-10, after Random123's philox.h."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def print_philox():
    ones = 0xFFFFFFFF
    # Random123's tests/kat_vectors, which show that this philox is the real one.
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([ones] * 4, [ones] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]) == [
        0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    pairs = [("zeros", [0, 0], [0, 0]), ("ones", [ones, ones], [ones, ones]),
             ("pi", [0x243F6A88, 0x85A308D3], [0xA4093822, 0x299F31D0])]
    for name, index, key in pairs:
        print("philox", name, ", ".join(f"0x{x:08x}" for x in philox(index + [0, 0], key)))
    order = list(range(8))
    for i in range(7, 0, -1):
        bits = philox([i, 0, 0, 0], [5, 0])
        j = ((bits[0] << 32 | bits[1]) * (i + 1)) >> 64
        order[i], order[j] = order[j], order[i]
    print("shuffle of 8 by key 5", order)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    write_blocks(folder, rng)
    write_packed(folder, rng)
    write_f16(folder, rng)
    write_gguf(folder, rng)
    write_safetensors(folder)
    write_npy(folder)
    print_philox()


main()
