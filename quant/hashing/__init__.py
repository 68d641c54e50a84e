"""Kernelized-hashing attention (EcoFormer): as a module, and as a conversion of softmax attention of any network.

HashedAttention(heads, head_width)             the module: binary codes of queries and keys, linear attention
learn_hashes(module, q, k)                     its hash functions from example activations
hash_attention(model, example, keep=...)       a network whose softmax attention is hashed, and a record of it
hashing_workload(network, example)             what it computes, as a Workload
"""

from quant.hashing.attention import HashedAttention, linear_attention
from quant.hashing.convert import Became, Hashed, hash_attention
from quant.hashing.learning import learn_hashes
from quant.hashing.workload import hashing_workload

__all__ = [
    "Became",
    "Hashed",
    "HashedAttention",
    "hash_attention",
    "hashing_workload",
    "learn_hashes",
    "linear_attention",
]
