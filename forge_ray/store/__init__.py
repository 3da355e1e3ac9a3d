"""Results of runs: parts that workers write once, a catalogue of what exists, readers that check every byte."""

from forge_ray.store.contract import MissingRunError, Predicate, ResultStore
from forge_ray.store.encode import content_hash, encode, encode_part, write_part, write_payload
from forge_ray.store.local import LocalStore
from forge_ray.store.lock import LOCK, Holder, RunLock, holder_of, is_held
from forge_ray.store.outcomes import OutcomeStore
from forge_ray.store.reading import JOB, MARKET, SPEC
from forge_ray.store.receipts import Damage, Part, Receipt
from forge_ray.store.sink import COPY, SqliteSink, copy_again, damaged_copies, remove_copy

__all__ = [
    "COPY",
    "JOB",
    "LOCK",
    "MARKET",
    "SPEC",
    "Damage",
    "Holder",
    "LocalStore",
    "MissingRunError",
    "OutcomeStore",
    "Part",
    "Predicate",
    "Receipt",
    "ResultStore",
    "RunLock",
    "SqliteSink",
    "content_hash",
    "copy_again",
    "damaged_copies",
    "encode",
    "encode_part",
    "holder_of",
    "is_held",
    "remove_copy",
    "write_part",
    "write_payload",
]
