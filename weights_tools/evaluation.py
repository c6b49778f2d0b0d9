"""What a trained pair is worth: held-out loss beside a trigram's and nanoGPT's, and acceptance before and after distilling.

All figures are of the folders as saved, so of weights rounded to float16.
"""

import math
from pathlib import Path

from weights_tools.acceptance import acceptance, target_contexts, text_contexts
from weights_tools.corpus import encode, read_split, trigram_loss
from weights_tools.model_folder import load_gpt2, load_tokenizer, require_same_vocabulary
from weights_tools.networks import load_network
from weights_tools.texts import name_of
from weights_tools.train import held_out_loss

NANOGPT = 1.4697  # nats a character, github.com/karpathy/nanoGPT, README, "quick start", on the same held-out tenth


def report(corpus_file: Path, target: Path, draft: Path, text_draft: Path) -> str:
    """The report as Markdown."""
    models = {folder: load_gpt2(folder) for folder in (target, draft, text_draft)}
    for folder in (draft, text_draft):
        require_same_vocabulary(target, folder)
    tokenizer = load_tokenizer(target)
    corpus = encode(read_split(corpus_file), tokenizer)
    context = min(model.shape.context for model in models.values())
    corpus.must_hold(context)
    lines = [
        f"Vocabulary {tokenizer.get_vocab_size()}; {len(corpus.train) - 1:,} training and "
        f"{len(corpus.held_out) - 1:,} held-out tokens ({corpus.held_out_bytes:,} bytes, "
        f"{corpus.held_out_bytes / (len(corpus.held_out) - 1):.3f} bytes a token).",
        "",
        "| model | parameters | nats a token | bits a byte | bits a byte, windows overlapping by half |",
        "|---|---|---|---|---|",
    ]
    for folder, model in models.items():
        size = sum(parameter.numel() for parameter in model.parameters())
        whole, sliding = (held_out_loss(model, corpus, stride=stride) for stride in (None, model.shape.context // 2))
        lines.append(f"| {name_of(folder)} | {size:,} | {whole:.4f} | {corpus.bits_per_byte(whole):.4f} | "
                     f"{corpus.bits_per_byte(sliding):.4f} |")  # fmt: skip
    trigram = trigram_loss(corpus.train, corpus.held_out)
    lines += [
        f"| interpolated trigram, same tokens | - | {trigram:.4f} | {corpus.bits_per_byte(trigram):.4f} | - |",
        f"| nanoGPT README, characters | 10.65M | {NANOGPT} a character | {NANOGPT / math.log(2):.4f} | - |",
        "",
        "Bits a byte = nats a token * tokens / bytes / ln 2. The corpus is ASCII, so a character is a byte and nanoGPT's "
        "nats a character over ln 2 is bits a byte.",
        "",
        "| acceptance at temperature 1, mean sum min(p, q) | on what the target writes | on held-out text |",
        "|---|---|---|",
    ]
    # other seeds than distillation used to choose its best round, so this is not the maximum of noisy looks
    network, prompt = load_network(target), max(1, context // 8)
    written = target_contexts(network, corpus.held_out, count=64, prompt=prompt, length=context, seed=1234)
    text = text_contexts(corpus.held_out, count=64, length=context)
    for label, folder in (("text only", text_draft), ("distilled", draft)):
        rates = (
            acceptance(network, load_network(folder), windows, skip=skip) for windows, skip in ((written, prompt), (text, 0))
        )
        lines.append(f"| {name_of(folder)} ({label}) | " + " | ".join(f"{rate:.4f}" for rate in rates) + " |")
    return "\n".join(lines) + "\n"
