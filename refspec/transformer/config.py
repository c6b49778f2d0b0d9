"""`config.json` as a frozen record of what the mathematics needs; anything else it says that would change it is refused.

A key is read here, or must have the one value that is implemented, or is known to change no logit (meaning.py). Whatever else
there is, and two keys that contradict each other, are refused by name: refspec does not guess.
"""

from dataclasses import dataclass
from pathlib import Path

from refspec.brief import brief, counted, short
from refspec.errors import BadConfig, ModelNotFound, UnsupportedModel
from refspec.files import is_there, read_json
from refspec.transformer.keys import Keys, Merged


@dataclass(frozen=True)
class GPT2Config:
    """GPT-2 in every size, and GPT-BigCode: SantaCoder, StarCoder, Granite's code model of 20B."""

    model_type: str
    vocab_size: int
    context: int
    layers: int
    width: int
    heads: int
    kv_heads: int  # one where all heads share it, as in most of GPT-BigCode
    inner: int
    norm_eps: float
    tied: bool
    exact_gelu: bool

    def __repr__(self) -> str:
        return brief(self, size_of(self))


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretched rotary frequencies (arXiv 2407.21783, section 3.4.2)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


@dataclass(frozen=True)
class LlamaConfig:
    """Llama 2 and 3, SmolLM2, TinyLlama, Qwen2, Qwen3, Granite: one network, told apart by what is switched on."""

    model_type: str
    vocab_size: int
    context: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    norm_eps: float
    tied: bool
    rope_theta: float
    rope_scaling: RopeScaling | None
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    embedding_multiplier: float
    residual_multiplier: float
    attention_scale: float
    logits_divisor: float

    def __repr__(self) -> str:
        return brief(self, size_of(self))


Config = GPT2Config | LlamaConfig


def size_of(config: object) -> str:
    """The family, how deep and wide the network is, and how much it can read and say: what tells models apart.

    Of another kind of network, what its configuration says as `str`.
    """
    if not isinstance(config, Config):
        return str(config)
    sizes = f"{counted(config.layers, 'layer')} x {config.width}, {counted(config.vocab_size, 'token')}"
    return f"{config.model_type}, {sizes}, context {config.context:,}"


def numbers_read(config: Config) -> int:
    """How many weights one token reads: the matrices of all layers, and the head. What a draft costs is measured by it."""
    d, inner = config.width, config.inner
    if isinstance(config, GPT2Config):
        layer = d * (2 * d + 2 * config.kv_heads * d // config.heads) + 2 * d * inner
    else:
        layer = 2 * d * (config.heads + config.kv_heads) * config.head_width + 3 * d * inner
    return config.layers * layer + config.vocab_size * d


# model_type, and how the names of its classes begin
FAMILIES = {
    "gpt2": "GPT2",
    "gpt_bigcode": "GPTBigCode",
    "llama": "Llama",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "granite": "Granite",
}
# names of two functions, the default first: GELU by its tanh form, and by the normal distribution function itself
TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate")
EXACT_GELU = ("gelu", "gelu_python")


def read_config(folder: Path) -> Config:
    """The configuration of the model in `folder`.

    Raises ModelNotFound without a config.json, BadConfig for one that is damaged, UnsupportedModel for one that asks
    for other mathematics.
    """
    path = Path(folder) / "config.json"
    if not is_there(path):
        raise ModelNotFound(f"{folder} has no config.json; give a folder in the Hugging Face layout")
    keys = Keys(path, read_json(path))
    model_type = keys.given.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise UnsupportedModel(
            f"{path}: model_type is {short(model_type)}; refspec runs {', '.join(FAMILIES)} (see refspec/transformer)"
        )
    check_class(keys)
    config = gpt2_config(keys) if model_type.startswith("gpt") else llama_config(keys)
    keys.judge_the_rest()
    keys.raise_what_was_refused()
    return config


def check_class(keys: Keys) -> None:
    """A class of another name computes something else, whatever model_type says. The bare network is named in old files."""
    named, prefix = keys.typed("architectures", list), FAMILIES[keys.given["model_type"]]
    allowed = [f"{prefix}{head}" for head in ("ForCausalLM", "LMHeadModel", "Model")]
    if named and not {str(each).lower() for each in named} & {each.lower() for each in allowed}:
        keys.refuse("architectures", named, " or ".join(allowed))


def gpt2_config(keys: Keys) -> GPT2Config:
    kind = keys.given["model_type"]
    keys.must_be("activation_function", *TANH_GELU, *EXACT_GELU)
    keys.also_called("n_positions", "max_position_embeddings")
    keys.also_called("n_embd", "hidden_size")
    keys.also_called("n_layer", "num_hidden_layers")
    keys.also_called("n_head", "num_attention_heads")
    width, heads = keys.count("n_embd"), keys.count("n_head")
    keys.divides(heads, width, "n_head", "n_embd")
    one = kind == "gpt_bigcode" and keys.switch("multi_query", True)
    kv_heads = 1 if one else heads
    if kind == "gpt_bigcode" and keys.count("num_key_value_heads", kv_heads) != kv_heads:
        given = keys.given["num_key_value_heads"]
        raise BadConfig(f"{keys.path}: num_key_value_heads is {given} where multi_query says {kv_heads}; remove the wrong one")
    return GPT2Config(
        model_type=kind,
        vocab_size=keys.count("vocab_size"),
        context=keys.count("n_positions"),
        layers=keys.count("n_layer"),
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        inner=keys.count("n_inner", 4 * width),
        norm_eps=keys.number("layer_norm_epsilon", 1e-5),
        tied=keys.switch("tie_word_embeddings", True),
        exact_gelu=keys.given.get("activation_function") in EXACT_GELU,
    )


def llama_config(keys: Keys) -> LlamaConfig:
    kind = keys.given["model_type"]
    keys.must_be("hidden_act", "silu", "swish")
    if kind in ("qwen2", "qwen3"):
        keys.take("sliding_window")  # inert while use_sliding_window is false, which is their default
    layers, layer_types = keys.count("num_hidden_layers"), keys.typed("layer_types", list)
    if layer_types and len(layer_types) != layers:
        raise BadConfig(f"{keys.path}: layer_types are {len(layer_types)} where num_hidden_layers is {layers}")
    for other in [each for each in layer_types if each != "full_attention"][:1]:
        keys.refuse("layer_types", other, "full_attention")
    width, heads = keys.count("hidden_size"), keys.count("num_attention_heads")
    kv_heads = keys.count("num_key_value_heads", heads)
    keys.divides(kv_heads, heads, "num_key_value_heads", "num_attention_heads")
    if keys.given.get("head_dim") is None:
        keys.divides(heads, width, "num_attention_heads", "hidden_size")
    head_width = keys.count("head_dim", 128 if kind == "qwen3" else width // heads)
    keys.divides(2, head_width, "2", "head_dim (rotary positions turn pairs)")
    bias = False if kind == "qwen2" else keys.switch("attention_bias", False)
    theta, scaling = rope(keys)
    granite = kind == "granite"
    return LlamaConfig(
        model_type=kind,
        vocab_size=keys.count("vocab_size"),
        context=keys.count("max_position_embeddings"),
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        inner=keys.count("intermediate_size"),
        norm_eps=keys.number("rms_norm_eps", 1e-6),
        tied=keys.switch("tie_word_embeddings", False),
        rope_theta=theta,
        rope_scaling=scaling,
        qkv_bias=bias or kind == "qwen2",
        output_bias=bias,
        mlp_bias=keys.switch("mlp_bias", False) if kind in ("llama", "granite") else False,
        qk_norm=kind == "qwen3",
        embedding_multiplier=keys.number("embedding_multiplier", 1.0) if granite else 1.0,
        residual_multiplier=keys.number("residual_multiplier", 1.0) if granite else 1.0,
        attention_scale=keys.number("attention_multiplier", 1.0) if granite else head_width**-0.5,
        logits_divisor=keys.number("logits_scaling", 1.0) if granite else 1.0,
    )


def rope(keys: Keys) -> tuple[float, RopeScaling | None]:
    """Base and scaling, from `rope_parameters` (transformers 5) and from `rope_scaling` and keys beside it (before)."""
    merged = Merged(keys.path)
    for key in ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings"):
        merged.add(key, keys.take(key), "config.json itself")
    for place in ("rope_scaling", "rope_parameters"):
        for key, value in keys.typed(place, dict).items():
            merged.add("rope_type" if key == "type" else key, value, place)
    inner = Keys(keys.path, merged.values)
    inner.reasons = keys.reasons
    theta = inner.number("rope_theta", 10000.0)
    kind = inner.take("rope_type", "default")
    if kind == "default":
        inner.take("original_max_position_embeddings")  # only a stretched rope reads it
        scaling = None
    elif kind == "llama3":
        scaling = RopeScaling(
            inner.number("factor"),
            inner.number("low_freq_factor"),
            inner.number("high_freq_factor"),
            inner.count("original_max_position_embeddings"),
        )
        if scaling.high_freq_factor <= scaling.low_freq_factor:
            raise BadConfig(f"{keys.path}: rope high_freq_factor must exceed low_freq_factor")
    else:
        keys.refuse("rope_type", kind, "'default' or 'llama3'")
        return theta, None
    inner.judge_the_rest()
    return theta, scaling
