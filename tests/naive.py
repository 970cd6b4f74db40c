"""Slow, obvious twins of what the library does fast; each builder of a fast path adds its own."""


# ---- hashing


def murmur3(data: bytes, seed: int = 0) -> int:
    """Return MurmurHash3_x86_32 of `data` as a signed number, written after Appleby's C++, line by line."""

    def rotated(word: int, bits: int) -> int:
        return (word << bits | word >> (32 - bits)) & 0xFFFFFFFF

    state = seed
    n_whole = len(data) // 4 * 4
    for at in range(0, n_whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        state ^= rotated(word, 15) * 0x1B873593 & 0xFFFFFFFF
        state = (rotated(state, 13) * 5 + 0xE6546B64) & 0xFFFFFFFF
    if n_whole < len(data):
        word = int.from_bytes(data[n_whole:], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        state ^= rotated(word, 15) * 0x1B873593 & 0xFFFFFFFF
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    state = (state ^ state >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    state ^= state >> 16
    return state - 2**32 if state >= 2**31 else state


def token_code(token: str, bits: int, seed: int = 0) -> int:
    """Return the code of one token: its bucket, inverted where the sign is -1."""
    hashed = murmur3(token.encode(), seed)
    bucket = abs(hashed) % 2**bits
    return bucket if hashed >= 0 else ~bucket


def row_tokens(texts: dict[str, str], crosses: list[list[str]]) -> list[str]:
    """Return the tokens of one row, from the text of each field and time feature."""
    tokens = [f"{name}={text}" for name, text in texts.items()]
    return tokens + [
        "*".join(cross) + "=" + "*".join(texts[name] for name in cross) for cross in crosses
    ]
