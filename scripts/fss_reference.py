#!/usr/bin/env python3
"""A second, slow implementation of `ariann-prg` and `ariann-fss`, which makes vectors/fss/*.json.

    scripts/fss_reference.py            write the vectors
    scripts/fss_reference.py --check    make them again and compare with the files

Written from the definitions, with whole numbers and lists and no regard for time or for secrets: never use it for
anything but vectors. Needs Python 3.9 and nothing else. A block is a whole number below 2^128, stored little-endian;
L is its high half, the control bit its lowest bit. Bytes are hexadecimal in the files.
"""

import json
import os
import sys

SEED = b"ariann fss v1"  # committed: the vectors are the same on every machine
LANES = 16
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "vectors", "fss")


# ---------------------------------------------------------------- AES-128, FIPS 197


def gf_mul(a, b):
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= 0x11B << (bit - 8)
    return product


def s_box_entry(byte):
    inverse = next((c for c in range(256) if gf_mul(byte, c) == 1), 0)
    out = 0x63
    for turn in range(5):
        out ^= (inverse << turn | inverse >> (8 - turn)) & 0xFF
    return out


S_BOX = [s_box_entry(byte) for byte in range(256)]
DOUBLE = [gf_mul(byte, 2) for byte in range(256)]


def expand_key(key):
    words = [list(key[4 * i : 4 * i + 4]) for i in range(4)]
    constant = 1
    for i in range(4, 44):
        word = words[i - 1]
        if i % 4 == 0:
            word = [S_BOX[b] for b in word[1:] + word[:1]]
            word[0] ^= constant
            constant = gf_mul(constant, 2)
        words.append([a ^ b for a, b in zip(words[i - 4], word)])
    return [sum(words[4 * r : 4 * r + 4], []) for r in range(11)]


SHIFT_ROWS = [(i + 4 * (i % 4)) % 16 for i in range(16)]


def mix_column(column):
    total = column[0] ^ column[1] ^ column[2] ^ column[3]
    return [column[r] ^ total ^ DOUBLE[column[r] ^ column[(r + 1) % 4]] for r in range(4)]


_EXPANDED = {}


def aes(key, block):
    """AES-128 of 16 bytes."""
    if key not in _EXPANDED:
        _EXPANDED[key] = expand_key(key)
    rounds = _EXPANDED[key]
    state = [a ^ b for a, b in zip(block, rounds[0])]
    for r in range(1, 11):
        state = [S_BOX[state[i]] for i in SHIFT_ROWS]
        if r < 10:
            state = sum((mix_column(state[4 * c : 4 * c + 4]) for c in range(4)), [])
        state = [a ^ b for a, b in zip(state, rounds[r])]
    return bytes(state)


def aes_check():
    """FIPS 197, appendix C.1."""
    key, plain = bytes(range(16)), bytes(0x11 * i for i in range(16))
    assert aes(key, plain).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


# ---------------------------------------------------------------- words of a seed


def prg_bytes(seed, address, first, count):
    """Bytes of the stream AES_seed(kind | gate | slot | i), fields of 1, 3, 4 and 8 bytes."""
    kind, gate, slot = address
    head = kind.to_bytes(1, "little") + gate.to_bytes(3, "little") + slot.to_bytes(4, "little")
    blocks = range(first // 16, (first + count + 15) // 16)
    stream = b"".join(aes(seed, head + i.to_bytes(8, "little")) for i in blocks)
    return stream[first % 16 : first % 16 + count]


def prg_words(seed, address, size, first, count):
    stream = prg_bytes(seed, address, size * first, size * count)
    return [int.from_bytes(stream[i : i + size], "little") for i in range(0, len(stream), size)]


def prg_bits(seed, address, first, count):
    stream = int.from_bytes(prg_bytes(seed, address, first // 8, count // 8 + 2), "little")
    return [stream >> (first % 8 + i) & 1 for i in range(count)]


# ---------------------------------------------------------------- half-tree DPF


def half_tree_hash(key, x):
    """H(x) = AES(sigma(x)) xor sigma(x), sigma(L | R) = (L xor R) | L."""
    left, right = x >> 64, x & (1 << 64) - 1
    sigma = (left ^ right) << 64 | left
    return int.from_bytes(aes(key, sigma.to_bytes(16, "little")), "little") ^ sigma


def levels(n):
    return max(n - 7, 0)


def generate_one(keys, n, root0, root1, alpha):
    """Correction words and leaf of one instance."""
    inner, leaf = keys
    s = [root0 & ~1, root1 | 1]
    delta = s[0] ^ s[1]
    words = []
    for level in range(levels(n)):
        bit = alpha >> (n - 1 - level) & 1
        hashed = [half_tree_hash(inner, block) for block in s]
        correction = hashed[0] ^ hashed[1] ^ (0 if bit else delta)
        s = [h ^ (block if bit else 0) ^ (correction if block & 1 else 0) for h, block in zip(hashed, s)]
        words.append(correction)
    words.append(half_tree_hash(leaf, s[0]) ^ half_tree_hash(leaf, s[1]) ^ 1 << alpha % 128)
    return words


def evaluate_one(keys, n, party, root, words, x):
    """XOR shares of 1{x < alpha} and 1{x = alpha}."""
    inner, leaf = keys
    s = root & ~1 | party
    less = 0
    for level in range(levels(n)):
        bit = x >> (n - 1 - level) & 1
        after = half_tree_hash(inner, s) ^ (s if bit else 0) ^ (words[level] if s & 1 else 0)
        if not bit:
            less ^= (s ^ after) & 1
        s = after
    vector = half_tree_hash(leaf, s) ^ (words[-1] if s & 1 else 0)
    less ^= bin(vector >> (x % 128 + 1)).count("1") & 1
    return less, vector >> x % 128 & 1


def interleave(instances):
    """Groups of LANES: all first blocks, then all second ones, ...; the last group by its own size."""
    out = b""
    for start in range(0, len(instances), LANES):
        group = instances[start : start + LANES]
        for row in zip(*group):
            out += b"".join(block.to_bytes(16, "little") for block in row)
    return out


def separate(keys, n, count):
    rows, instances, at = levels(n) + 1, [], 0
    for start in range(0, count, LANES):
        lanes = min(LANES, count - start)
        blocks = [int.from_bytes(keys[at + 16 * i : at + 16 * i + 16], "little") for i in range(lanes * rows)]
        instances += [blocks[lane::lanes] for lane in range(lanes)]
        at += 16 * lanes * rows
    return instances


def split(data):
    return [int.from_bytes(data[i : i + 16], "little") for i in range(0, len(data), 16)]


def generate(keys, n, roots, alphas):
    return interleave([generate_one(keys, n, r0, r1, a) for r0, r1, a in zip(split(roots[0]), split(roots[1]), alphas)])


def evaluate(keys, n, party, roots, key_bytes, xs):
    instances = separate(key_bytes, n, len(xs))
    pairs = [evaluate_one(keys, n, party, r, w, x) for r, w, x in zip(split(roots), instances, xs)]
    return [p[0] for p in pairs], [p[1] for p in pairs]


# ---------------------------------------------------------------- unit vectors


def unit_len(v, count):
    return (count * 2**v + 7) // 8


def unit_generate(v, share0, alphas):
    stream = int.from_bytes(share0, "little")
    for i, alpha in enumerate(alphas):
        stream ^= 1 << (i * 2**v + alpha)
    return stream.to_bytes(len(share0), "little")


def unit_read(v, share, digits):
    stream = int.from_bytes(share, "little")
    vectors = [stream >> i * 2**v & (1 << 2**v) - 1 for i in range(len(digits))]
    less = [bin(vector >> d + 1).count("1") & 1 for vector, d in zip(vectors, digits)]
    return less, [vector >> d & 1 for vector, d in zip(vectors, digits)]


# ---------------------------------------------------------------- the vectors


class Source:
    """Pseudorandom choices from the committed seed and a label."""

    def __init__(self, label):
        key = bytes(16)
        padded = SEED + b"|" + label.encode()
        padded += bytes(-len(padded) % 16)
        for i in range(0, len(padded), 16):
            key = bytes(a ^ b for a, b in zip(aes(key, padded[i : i + 16]), padded[i : i + 16]))
        self.key, self.at = key, 0

    def bytes(self, count):
        out = prg_bytes(self.key, (0, 0, 0), self.at, count)
        self.at += count
        return out

    def below(self, bound):
        return int.from_bytes(self.bytes(16), "little") % bound


def hash_keys(source):
    return source.bytes(16), source.bytes(16)


def points(source, n, count):
    """Edges first, then neighbours, equal points and points that part late, then anything."""
    top = 2**n - 1
    pairs = [(0, 0), (0, top), (top, 0), (top, top), (top // 2, top // 2 + 1), (top // 2 + 1, top // 2)]
    while len(pairs) < count:
        alpha = source.below(2**n)
        pairs.append((alpha, (alpha, alpha ^ 1, alpha ^ 1 << source.below(n), source.below(2**n))[len(pairs) % 4]))
    return [a for a, _ in pairs[:count]], [x for _, x in pairs[:count]]


def prg_file():
    source, cases = Source("prg"), []
    for address in [(0, 0, 0), (1, 2, 3), (255, 2**24 - 1, 2**32 - 1), (7, 0x010203, 0x04050607)]:
        for first in (0, 1, 5, 2**40 - 300):
            seed = source.bytes(16)
            cases.append({
                "seed": seed.hex(), "kind": address[0], "gate": address[1], "slot": address[2],
                "first_block": first, "bytes": prg_bytes(seed, address, 16 * first, 16 * 18 + 5).hex(),
                "first_word": 4 * first + 3,
                "words32": prg_words(seed, address, 4, 4 * first + 3, 21),
                "words64": [str(w) for w in prg_words(seed, address, 8, 2 * first + 1, 9)],
                "first_word64": 2 * first + 1,
                "first_bit": 128 * first + 13, "bits": prg_bits(seed, address, 128 * first + 13, 77),
            })
    return {"what": "words, bytes and bits of a seed", "cases": cases}


def hash_file():
    source = Source("hash")
    keys = hash_keys(source)
    xs = [0, 1, 1 << 64, 2**128 - 1] + split(source.bytes(16 * 20))
    text = lambda x: x.to_bytes(16, "little").hex()
    cases = [{"x": text(x), "inner": text(half_tree_hash(keys[0], x)), "leaf": text(half_tree_hash(keys[1], x))} for x in xs]
    return {"what": "H and H' of blocks", "inner_key": keys[0].hex(), "leaf_key": keys[1].hex(), "cases": cases}


def tree_file(n, count, label=None):
    source = Source(label or "dpf-%d" % n)
    keys = hash_keys(source)
    roots = source.bytes(16 * count), source.bytes(16 * count)
    alphas, xs = points(source, n, count)
    key_bytes = generate(keys, n, roots, alphas)
    less, equal = zip(*(evaluate(keys, n, party, roots[party], key_bytes, xs) for party in (0, 1)))
    for i, (alpha, x) in enumerate(zip(alphas, xs)):
        assert less[0][i] ^ less[1][i] == (x < alpha) and equal[0][i] ^ equal[1][i] == (x == alpha)
    return {
        "what": "keys of the half-tree DPF and their evaluation by both parties",
        "inner_key": keys[0].hex(), "leaf_key": keys[1].hex(), "domain_bits": n,
        "alphas": [str(a) for a in alphas], "xs": [str(x) for x in xs],
        "roots": [r.hex() for r in roots], "keys": key_bytes.hex(), "less": list(less), "equal": list(equal),
    }


def unit_file(v, count):
    source = Source("unit-%d" % v)
    share0 = source.bytes(unit_len(v, count))
    alphas = [source.below(2**v) for _ in range(count)]
    digits = [a if i % 3 == 0 else source.below(2**v) for i, a in enumerate(alphas)]
    share1 = unit_generate(v, share0, alphas)
    less, equal = zip(*(unit_read(v, share, digits) for share in (share0, share1)))
    for i, (alpha, d) in enumerate(zip(alphas, digits)):
        assert less[0][i] ^ less[1][i] == (d < alpha) and equal[0][i] ^ equal[1][i] == (d == alpha)
    return {
        "what": "unit vectors and their reading by both parties", "digit_bits": v,
        "alphas": alphas, "digits": digits, "shares": [share0.hex(), share1.hex()],
        "less": list(less), "equal": list(equal),
    }


def without(text, count=2):
    return text[: len(text) - count]


def refused(base, error, by, what, **changes):
    """`by` says which calls refuse it: g the dealer's, 0 and 1 the parties'; the others do not see what is wrong."""
    return {**base, **changes, "what": what, "error": error, "refused_by": by}


def refused_files():
    """Calls that must be refused, by the kind of error; each is a valid file with one thing wrong."""
    tree, unit = tree_file(15, 5, "invalid"), unit_file(5, 5)
    longer, deeper = tree_file(15, 6, "invalid"), tree_file(31, 5, "invalid")
    roots, shares = tree["roots"], unit["shares"]
    outside = [str(2**15)] + tree["xs"][1:]
    files = {
        "key-one-byte-short": refused(tree, "length", "g01", "a byte of the keys is missing", keys=without(tree["keys"])),
        "key-one-byte-long": refused(tree, "length", "g01", "a byte after the keys", keys=tree["keys"] + "00"),
        "key-empty": refused(tree, "length", "g01", "no keys", keys=""),
        "key-of-one-instance-more": refused(tree, "length", "g01", "keys of six instances for five", keys=longer["keys"]),
        "key-of-a-deeper-tree": refused(tree, "length", "g01", "keys of 31 bits where 15 are evaluated", keys=deeper["keys"]),
        "key-without-leaves": refused(tree, "length", "g01", "the leaves are cut off", keys=without(tree["keys"], 160)),
        "root-one-byte-short": refused(tree, "length", "g0", "a byte of P0's roots is missing", roots=[without(roots[0]), roots[1]]),
        "root-of-p1-one-block-short": refused(tree, "length", "g1", "P1 has a root too few", roots=[roots[0], without(roots[1], 32)]),
        "x-outside-domain": refused(tree, "outside", "01", "the first x is 2^15 on 15 bits", xs=outside),
        "x-largest-of-the-ring": refused(tree, "outside", "01", "the last x is 2^64 - 1", xs=tree["xs"][:-1] + [str(2**64 - 1)]),
        "alpha-outside-domain": refused(tree, "outside", "g", "the first alpha is 2^15 on 15 bits", alphas=outside),
        "one-x-too-few": refused(tree, "length", "01", "four points for keys of five instances", xs=tree["xs"][:-1]),
        "one-alpha-too-many": refused(tree, "length", "g", "six alphas for keys of five instances", alphas=tree["alphas"] + ["0"]),
        "output-too-short": refused(tree, "length", "01", "room for four shares", outputs=4),
        "output-too-long": refused(tree, "length", "01", "room for six shares", outputs=6),
    }
    for bits in (0, 64, 128, 2**32 - 1):
        files["domain-of-%d-bits" % bits] = refused(tree, "domain", "g01", "trees have 1 to 63 bits", domain_bits=bits)
    files.update({
        "unit-vector-one-byte-short": refused(unit, "length", "g0", "a byte of P0's vectors is missing", shares=[without(shares[0]), shares[1]]),
        "unit-vector-one-byte-long": refused(unit, "length", "g1", "a byte after P1's vectors", shares=[shares[0], shares[1] + "00"]),
        "unit-digit-outside-domain": refused(unit, "outside", "01", "a digit of 32 on 5 bits", digits=unit["digits"][:-1] + [32]),
        "unit-alpha-outside-domain": refused(unit, "outside", "g", "an alpha of 32 on 5 bits", alphas=[32] + unit["alphas"][1:]),
        "unit-domain-of-8-bits": refused(unit, "domain", "g01", "unit vectors have at most 7 bits", digit_bits=8),
        "unit-output-too-short": refused(unit, "length", "01", "room for four shares", outputs=4),
    })
    return files


def spoiled_files():
    """Material of the right length and wrong content. No length tells, so it is evaluated, the same by everybody, to a
    wrong result: only the checksums and identities around the material stop it."""
    n, count = 15, 18
    base = tree_file(n, count, "spoiled")
    keys, good = (bytes.fromhex(base["inner_key"]), bytes.fromhex(base["leaf_key"])), bytes.fromhex(base["keys"])
    roots = [bytes.fromhex(r) for r in base["roots"]]
    xs = [int(x) for x in base["xs"]]
    rows = levels(n) + 1

    whole = LANES * rows * 16
    by_instance = b"".join(b"".join(w.to_bytes(16, "little") for w in words) for words in separate(good, n, count))
    flat = b"".join(b"".join(row.to_bytes(16, "little") for row in col) for col in zip(*separate(good, n, count)))
    all_leaf_bits = good[: whole - 16 * LANES] + bytes(b ^ 0xFF for b in good[whole - 16 * LANES : whole]) + good[whole:]
    cases = {
        "correction-words-flipped": (keys, roots, bytes(b ^ 1 for b in good[: 16 * LANES]) + good[16 * LANES :]),
        "leaf-of-the-first-group-inverted": (keys, roots, all_leaf_bits),
        "keys-not-interleaved": (keys, roots, by_instance),
        "keys-interleaved-over-all-groups": (keys, roots, flat),
        "short-group-first": (keys, roots, good[whole:] + good[:whole]),
        "hash-keys-swapped": ((keys[1], keys[0]), roots, good),
        "roots-of-the-other-party": (keys, roots[::-1], good),
        "roots-one-lane-off": (keys, [r[16:] + r[:16] for r in roots], good),
    }
    files = {}
    for name, (used, roots, spoiled) in cases.items():
        less, equal = zip(*(evaluate(used, n, party, roots[party], spoiled, xs) for party in (0, 1)))
        wrong = sum(less[0][i] ^ less[1][i] != (xs[i] < int(base["alphas"][i])) for i in range(count))
        assert wrong, name
        files[name] = {
            **base, "what": "material of the right length and wrong content: both parties get these shares, which are wrong",
            "inner_key": used[0].hex(), "leaf_key": used[1].hex(), "roots": [r.hex() for r in roots],
            "keys": spoiled.hex(), "less": list(less), "equal": list(equal), "error": "wrong-result", "wrong": wrong,
        }
    return files


def all_files():
    files = {"prg.json": prg_file(), "hash.json": hash_file()}
    counts = {1: 17, 2: 16, 6: 15, 7: 33, 8: 33, 9: 1, 10: 31, 15: 37, 16: 16, 19: 32, 31: 35, 32: 17, 33: 9, 48: 5, 62: 3, 63: 18}
    for n, count in counts.items():
        files["dpf-%02d-bits.json" % n] = tree_file(n, count)
    for v in range(8):
        files["unit-%d-bits.json" % v] = unit_file(v, 21)
    for name, content in {**refused_files(), **spoiled_files()}.items():
        files["invalid-%s.json" % name] = content
    return {name: json.dumps(content, indent=1) + "\n" for name, content in files.items()}


def main():
    aes_check()
    files = all_files()
    if sys.argv[1:] == ["--check"]:
        found = {}
        for name in sorted(os.listdir(FOLDER)):
            with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
                found[name] = file.read()
        wrong = sorted(name for name in files.keys() | found.keys() if files.get(name) != found.get(name))
        if wrong:
            sys.exit("vectors/fss differs from what this script makes: " + ", ".join(wrong))
        print("%d files in vectors/fss are what this script makes" % len(files))
    elif not sys.argv[1:]:
        os.makedirs(FOLDER, exist_ok=True)
        for name, text in files.items():
            with open(os.path.join(FOLDER, name), "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
        print("wrote %d files to vectors/fss" % len(files))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
