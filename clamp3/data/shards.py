"""The parts of a table: how many, what they are called, which of them holds a piece."""

from clamp3.randomness import stable_hash


def shard_of(piece_id: str, count: int) -> int:
    """The number in [0, count) of the part that holds the piece: a new piece touches one part."""
    return stable_hash(piece_id, "shard") % count


def part_names(count: int) -> list[str]:
    """The file names of all parts, in order: part-00000-of-00004.parquet, …"""
    return [f"part-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
