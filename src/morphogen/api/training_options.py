"""The options of `mg.train` by name and type. Written by `python -m tools.training_options`; do not edit."""

from __future__ import annotations

from typing import Literal, TypedDict


class TrainingOptions(TypedDict, total=False):
    """Options of training (`Recipe`) and of the families (their Specs), as keyword arguments of `mg.train`."""

    accumulate: int
    activation: Literal["relu", "gelu", "silu", "tanh"]
    adversarial: float
    adversarial_from: float
    alpha: int
    attention: int
    augment: Literal["none", "fixed", "adaptive"]
    augment_records: int
    augment_strength: float
    augment_target: float
    auto: bool
    autoguidance: float
    backbone: Literal["auto", "unet", "dit", "mlp"] | Literal["auto", "mlp", "conv"]
    batch_size: int
    beta: float
    betas: tuple[float, float] | list[float]
    blocks: int | tuple[int, ...] | list[int]
    bound_weight: float
    bounded: bool
    budget: str | float | None
    chain: int | None
    checkpoint_seconds: float
    choice_share: float | None
    clip: float | None
    coarsest: float
    code_dim: int
    codebook_decay: float
    codes: int
    codes_until: float
    column_blocks: int
    column_hidden: int | None
    column_width: int | None
    commitment: float
    compile: Literal["auto", "on", "off"]
    condition_dropout: float
    conditional: bool
    context_dropout: float
    count_share: float
    counts: bool
    coupling: Literal["independent", "optimal", "optimal-across"]
    crop: int
    dead_below: float
    depth: int
    device: str
    discriminator_hidden: tuple[int, ...] | list[int]
    discriminator_lr: float
    discriminator_widths: tuple[int, ...] | list[int]
    distributed: Literal["ddp", "fsdp"]
    dropout: float
    ema: float | None
    epochs: float | None
    features: int
    finest: float
    fixed_order: float
    flips: bool
    fold: int | Literal[4, 8, 16]
    fourier: tuple[int, ...] | list[int]
    free_bits: float
    game: Literal["relativistic", "non_saturating", "hinge", "least_squares", "wasserstein", "minimax"]
    gated: bool
    generator_lr: float
    grammar: Literal["none", "syntax", "valence"]
    grid: str
    groups: tuple[int, ...] | list[int] | int
    guidance: float
    guidance_interval: tuple[float, float] | list[float]
    hidden: int | tuple[int, ...] | list[int]
    hyper_channels: int
    importance_samples: int
    inner: int
    integer: bool
    inversion_starts: int
    inversion_steps: int
    judge_lr: float
    judged_mean: tuple[float, float] | list[float]
    judged_std: float
    kl_warmup: float
    latent_channels: int | tuple[int, ...] | list[int]
    latent_dim: int | None
    layers: Literal["all", "attention"]
    levels: tuple[int, ...] | list[int]
    likelihood: str | Literal["categorical", "discretized_logistic_mixture"]
    log_every: int
    lr: float | None
    lr_schedule: Literal["cosine", "linear", "constant"]
    marginal_share: float | None
    mean_share: float
    middle_share: float
    mismatch: float
    mixtures: int
    multi_scale: float
    near: tuple[int, int] | list[int]
    norm: bool
    optimizer: Literal["adamw", "muon"]
    output: Literal["auto", "mean", "sample"]
    parametrization: Literal["x0", "eps", "v"]
    patch: int
    patience: int | None
    penalty: Literal["auto", "none", "r1", "r1_r2", "gradient"]
    penalty_every: int
    penalty_weight: float | None
    places: Literal["each", "axes"]
    precision: Literal["auto", "fp32", "bf16"]
    prior: Literal["hyperprior", "factorized"] | Literal["standard", "vamp", "flow"]
    prior_blocks: int
    prior_dropout: float
    prior_lr: float
    prior_start: float
    prior_std: float | None
    prior_width: int
    privacy: str | None
    pseudo_inputs: int
    quality: int
    quantizer: Literal["codebook", "fsq"]
    radius: float | None
    rank: int
    reach: tuple[int, int] | list[int]
    reconstruction: float
    residual: int
    rest_share: float
    robust: float
    rungs: int
    schedule: Literal["linear-beta", "cosine", "edm", "ve", "rectified-flow"]
    score_evaluations: int
    seed: int
    sees: Literal["rounded", "noise"]
    sheet_seconds: float
    shift: float
    shrinkage: float
    skip: float | None
    spectral: bool
    spread: float | None
    stem: tuple[int, int] | list[int]
    stepper: str
    steps: int | None
    tanh: bool
    text_blocks: int
    text_encoder: Literal["transformer", "recurrent"]
    text_latents: int
    text_width: int
    time_mean: float
    time_std: float
    times: Literal["uniform", "log-normal"] | Literal["uniform", "logit-normal"]
    token_blocks: int
    token_width: int
    values_share: float
    variance: float | Literal["learned", "beta", "beta_tilde"]
    warmup: int
    weight_decay: float
    weighting: Literal["x0", "eps", "v", "flow", "min-snr", "edm", "posterior-mean", "bound"] | Literal["auto"]
    width: int
    widths: tuple[int, ...] | list[int] | tuple[int, int]
    word_dropout: float
    zero_terminal_snr: bool
