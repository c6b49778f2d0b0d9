"""The drafter's half of the coupled rule (arXiv 2408.07978): guess by racing on the target's own noise."""

from refspec.arrays import Array
from refspec.decoding.chance import Chance
from refspec.decoding.draft.model import ModelDrafter


class CoupledDrafter(ModelDrafter):
    """Drafts with a smaller model; each guess is the winner of the race of its absolute position. Draws no uniform.

    Not with the block rule, and the loop refuses it: there a later guess decides on an earlier one, so what is kept tells
    something of noise that is raced again in the next round, and the text no longer has the target's distribution (N6).

    >>> import refspec
    >>> coin = refspec.TableLM({(): [0.5, 0.5]})
    >>> drafter = refspec.CoupledDrafter(coin)
    >>> drafter.propose((0, 1), 3, refspec.Seeded(0)).tokens == drafter.propose((0, 1), 3, refspec.Seeded(0)).tokens
    True
    """

    races = True
    state = None  # a function of the text and of noise

    def guess(self, row: Array, position: int, chance: Chance) -> int:
        return chance.race(position, row)
