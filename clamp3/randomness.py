"""Hashes and generators that give the same on every machine, in every process, in any order."""

import hashlib
import json

import numpy as np


def stable_hash(*keys: str | int) -> int:
    """An unsigned 64-bit number that depends on the keys alone (Python's own `hash` is salted)."""
    text = json.dumps(keys, ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def stable_fraction(*keys: str | int) -> float:
    """A number in [0, 1) that depends on the keys alone."""
    return (stable_hash(*keys) >> 11) / 2**53


def generator(*keys: str | int) -> np.random.Generator:
    """A fresh generator for the keys, such as (seed, "crop", epoch, piece id)."""
    return np.random.default_rng(stable_hash(*keys))
