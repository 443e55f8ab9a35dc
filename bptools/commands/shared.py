"""Options that several commands have of their own, with one meaning and one wording.

What all data commands share is in `core/options.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Optional

from bptools.core.options import option
from bptools.models.devices import Dtype

Text = Optional[str]
Texts = Optional[list[str]]
Number = Optional[int]
Real = Optional[float]

# fmt: off
RoleMap = Annotated[Texts, option("--role-map", metavar="NAME=ROLE", help="Say what an unknown role is; may be repeated.")]

Revision = Annotated[Text, option("--revision", metavar="REV", help="The branch, tag or commit of a hub model.")]
Device = Annotated[str, option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")]
Threads = Annotated[Number, option("--threads", min=1, metavar="N", help="Threads on a CPU; default: its idle cores.")]
WeightType = Annotated[Dtype, option("--dtype", help="The number format of the weights.")]
WeightQuant = Annotated[Literal["none", "nf4", "int8"], option("--quant", help="Load the weights in 4 or 8 bits.")]
ChatTemplate = Annotated[str, option("--chat-template", metavar="TEMPLATE", help="auto, chatml, alpaca, llama3, mistral, gemma, zephyr, FILE or from:MODEL.")]
TemplateKwargs = Annotated[Texts, option("--template-kwargs", metavar="NAME=VALUE", help="Something the template asks for, as enable_thinking=false; may be repeated.")]
