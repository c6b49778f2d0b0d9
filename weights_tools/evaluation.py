"""What a trained pair is worth: held-out loss beside a trigram's and nanoGPT's, and acceptance before and after distilling.

All figures are of the folders as saved, so of weights rounded to float16.
"""

import argparse
import math
from pathlib import Path

import torch

from weights_tools.acceptance import acceptance, target_contexts, text_contexts
from weights_tools.corpus import encode, trigram_loss
from weights_tools.model_folder import load_gpt2, load_tokenizer
from weights_tools.networks import load_network
from weights_tools.train import held_out_loss

NANOGPT = 1.4697  # nats a character, github.com/karpathy/nanoGPT, README, "quick start", on the same held-out tenth


def report(corpus_file: Path, target: Path, draft: Path, text_draft: Path) -> str:
    """The report as Markdown."""
    corpus = encode(corpus_file, load_tokenizer(target))
    lines = [
        f"Vocabulary {load_tokenizer(target).get_vocab_size()}; {len(corpus.train) - 1:,} training and "
        f"{len(corpus.held_out) - 1:,} held-out tokens ({corpus.held_out_bytes:,} bytes, "
        f"{corpus.held_out_bytes / (len(corpus.held_out) - 1):.3f} bytes a token).",
        "",
        "| model | parameters | nats a token | bits a byte | bits a byte, windows overlapping by half |",
        "|---|---|---|---|---|",
    ]
    for folder in (target, draft, text_draft):
        model = load_gpt2(folder)
        size = sum(parameter.numel() for parameter in model.parameters())
        whole, sliding = (held_out_loss(model, corpus, stride=stride) for stride in (None, model.shape.context // 2))
        lines.append(f"| {folder.name} | {size:,} | {whole:.4f} | {corpus.bits_per_byte(whole):.4f} | "
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
    network, context = load_network(target), load_gpt2(target).shape.context
    written = target_contexts(network, corpus.held_out, count=64, prompt=context // 8, length=context, seed=1234)
    text = text_contexts(corpus.held_out, count=64, length=context)
    for label, folder in (("text only", text_draft), ("distilled", draft)):
        rates = (
            acceptance(network, load_network(folder), windows, skip=skip)
            for windows, skip in ((written, context // 8), (text, 0))
        )
        lines.append(f"| {folder.name} ({label}) | " + " | ".join(f"{rate:.4f}" for rate in rates) + " |")
    return "\n".join(lines) + "\n"


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--corpus", type=Path, required=True, help="the text that the pair was trained on")
    command.add_argument("--target", type=Path, required=True, help="the target's folder")
    command.add_argument("--draft", type=Path, required=True, help="the distilled draft's folder")
    command.add_argument("--text-draft", type=Path, required=True, help="the folder of the draft before distillation")
    command.add_argument("--threads", type=int, default=1, help="PyTorch threads (default: %(default)s)")


def run_evaluate(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    print(report(options.corpus, options.target, options.draft, options.text_draft), end="")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    run_evaluate(parser.parse_args())
