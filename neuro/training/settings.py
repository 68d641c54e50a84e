"""How a network is trained, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """Settings of the training loop.

    Attributes:
        epochs: passes over the training split; 0 trains nothing.
        batch_size: samples in a step.
        learning_rate: peak rate of AdamW.
        min_learning_rate: where the cosine ends.
        warmup_epochs: epochs of linear warm-up before the cosine.
        weight_decay: of AdamW, on weights of two axes and more; biases, norms and neurons are left out.
        label_smoothing: of the cross-entropy.
        loss: `cross_entropy` on the logits' mean over T, or `tet` on every timestep.
        tet_lambda: weight of TET's second term, which pulls each timestep's logits to the threshold.
        clip_norm: largest norm of the gradient; null for no clipping.
        precision: `fp32`, or mixed precision in `bf16` or `fp16`.
        packed_activations: keep what backward needs as spikes of one bit and make the rest again from them: a
            fraction of the memory, the same gradients, about one more forward pass of time.
        distillation: weight of the teacher's answers in the loss, where there is a teacher; the rest is of the labels.
        compile: run the network through `torch.compile`, which pays after the first minutes.
        evaluate_every: epochs between evaluations on the held-out split; the last epoch is always evaluated.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(default=20, ge=0)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    min_learning_rate: float = Field(default=1e-5, ge=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=0.02, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    loss: Literal["cross_entropy", "tet"] = "cross_entropy"
    tet_lambda: float = Field(default=0.05, ge=0, le=1)
    clip_norm: float | None = Field(default=1.0, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    packed_activations: bool = False
    distillation: float = Field(default=0.9, ge=0, le=1)
    compile: bool = False
    evaluate_every: int = Field(default=5, ge=1)
