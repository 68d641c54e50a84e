"""How a network is trained, as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Phase(BaseModel):
    """A part of a training with its own number of timesteps, such as 20 epochs at T = 1 before 5 at T = 4.

    Attributes:
        timesteps: T of the network meanwhile.
        epochs: passes over the training split; the learning rate warms up and falls within them.
        learning_rate: peak rate; null takes the training's.
        warmup_epochs: of linear warm-up; null takes the training's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    timesteps: int = Field(ge=1)
    epochs: int = Field(ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    warmup_epochs: float | None = Field(default=None, ge=0)


class TrainingSettings(BaseModel):
    """Settings of the training loop.

    Attributes:
        epochs: passes over the training split; 0 trains nothing. With `phases`, their sum.
        phases: parts of the training at different T, one after the other (Spike-driven Transformer V2 trains at T = 1
            and tunes at T = 4); empty for one part at the network's own T, which a last phase must end at.
        batch_size: samples in a step, over all processes.
        accumulate: parts that a step's samples are cut into, one after the other, for less memory; each part has
            BatchNorm statistics of its own.
        optimizer: `adamw`, or `lamb` for batches of thousands.
        learning_rate: its peak rate.
        min_learning_rate: where the cosine ends.
        warmup_epochs: epochs of linear warm-up before the cosine.
        weight_decay: of the optimizer, on weights of two axes and more; biases, norms and neurons are left out.
        label_smoothing: of the cross-entropy.
        loss: `cross_entropy` on the logits' mean over T, or `tet` on every timestep.
        tet_lambda: weight of TET's second term, which pulls each timestep's logits to the threshold.
        mixup: alpha of mixup; 0 for none. With `cutmix`, every batch takes one of the two, each as often.
        cutmix: alpha of CutMix; 0 for none.
        mix_probability: share of the batches that are mixed.
        clip_norm: largest norm of the gradient; null for no clipping.
        precision: `fp32`, or mixed precision in `bf16` or `fp16`.
        channels_last: keep images and convolutions channels last, which most convolutions are faster in.
        packed_activations: keep what backward needs as spikes of one bit and make the rest again from them: a
            fraction of the memory, the same gradients, about one more forward pass of time.
        ema: decay, by step, of a moving average of all weights, which is what is evaluated and left; null for none.
        distillation: weight of the teacher's answers in the loss, where there is a teacher; the rest is of the labels.
        layer_distillation: weight of the teacher's `distilled_layers` in the loss, where there are any.
        distilled_layers: modules, by the name they have in both networks, whose outputs' means over T are pulled to
            the teacher's.
        spike_budget: spikes a neuron may fire in a timestep, mean over all neurons; what exceeds it costs more and
            more until it is kept. Null for no budget.
        budget_rate: how fast that price moves, by step.
        compile: run the network through `torch.compile`, which pays after the first minutes.
        evaluate_every: epochs between evaluations on the held-out split; the last epoch is always evaluated.
        checkpoint_every: steps between checkpoints within an epoch; null keeps whole epochs alone.
        log_every: steps between lines of the log.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(default=20, ge=0)
    phases: tuple[Phase, ...] = ()
    batch_size: int = Field(default=64, ge=1)
    accumulate: int = Field(default=1, ge=1)
    optimizer: Literal["adamw", "lamb"] = "adamw"
    learning_rate: float = Field(default=2e-3, gt=0)
    min_learning_rate: float = Field(default=1e-5, ge=0)
    warmup_epochs: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=0.02, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    loss: Literal["cross_entropy", "tet"] = "cross_entropy"
    tet_lambda: float = Field(default=0.05, ge=0, le=1)
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)
    mix_probability: float = Field(default=1.0, ge=0, le=1)
    clip_norm: float | None = Field(default=1.0, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    packed_activations: bool = False
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    distillation: float = Field(default=0.9, ge=0, le=1)
    layer_distillation: float = Field(default=1.0, ge=0)
    distilled_layers: tuple[str, ...] = ()
    spike_budget: Annotated[float, Field(gt=0)] | None = None
    budget_rate: float = Field(default=0.02, gt=0)
    compile: bool = False
    evaluate_every: int = Field(default=5, ge=1)
    checkpoint_every: Annotated[int, Field(ge=1)] | None = None
    log_every: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _count_epochs(self) -> TrainingSettings:
        """The epochs are those of the phases, where there are any."""
        total = sum(phase.epochs for phase in self.phases)
        if self.phases and "epochs" in self.model_fields_set and self.epochs != total:
            raise ValueError(
                f"{self.epochs} epochs were given beside phases of {total}; leave epochs out, or give phases too, "
                "[] for none"
            )
        if self.phases:
            object.__setattr__(self, "epochs", total)  # frozen for everybody else
        return self

    @model_validator(mode="after")
    def _check_compile(self) -> TrainingSettings:
        """Packing watches every operator as it runs, and torch compiles nothing meanwhile."""
        if self.compile and self.packed_activations:
            raise ValueError("compile and packed_activations exclude each other; leave out one of them")
        return self
