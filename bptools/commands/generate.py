"""bp-generate: answers of one model or several, for a stream of prompts or on a terminal.

echo 'Name three colours.' | bp-generate --model qwen0.5b | jq -r '.messages[-1].content'
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NoReturn, Optional

from bptools.commands.shared import (
    ChatTemplate,
    Device,
    Revision,
    RoleMap,
    TemplateKwargs,
    Text,
    Texts,
    WeightQuant,
    WeightType,
)
from bptools.core import cli
from bptools.core.errors import UsageError
from bptools.core.options import data_command, json_values, option, pairs
from bptools.core.pipeline import Pipeline

app = cli.command_app()


@app.command(cls=cli.PlainCommand)
@data_command("bp-generate", drops=True)
def generate(
    pipe: Pipeline,
    model: Annotated[Texts, option("--model", metavar="MODEL", help="nano, a folder, a preset, or OWNER/NAME of the hub; default: nano, or the base of --adapter; may be repeated.")] = None,
    adapter: Annotated[Texts, option("--adapter", metavar="DIR", help="A LoRA adapter on the model, or none for the model alone; may be repeated.")] = None,
    revision: Revision = None,
    device: Device = "auto",
    dtype: WeightType = "auto",
    quant: WeightQuant = "none",
    system: Annotated[Text, option("--system", metavar="TEXT", help="The system prompt, in place of one that is there.")] = None,
    chat_template: ChatTemplate = "auto",
    template_kwargs: TemplateKwargs = None,
    no_template: Annotated[bool, option("--no-template", help="Continue texts as they stand.")] = False,
    max_new_tokens: Annotated[int, option("--max-new-tokens", min=1, metavar="N", help="The longest answer, in tokens.")] = 512,
    temperature: Annotated[Optional[float], option("--temperature", min=0, max=10, metavar="T", help="0 is greedy; default: what the model's generation settings say, else greedy.")] = None,
    top_p: Annotated[Optional[float], option("--top-p", min=0.001, max=1, metavar="P", help="Draw from the likeliest tokens that make up P.")] = None,
    top_k: Annotated[Optional[int], option("--top-k", min=0, metavar="K", help="Draw from the K likeliest tokens; 0 is all.")] = None,
    seed: Annotated[int, option("--seed", min=0, max=(1 << 32) - 1, metavar="N", help="What answers are drawn by.")] = 0,
    stop: Annotated[Texts, option("--stop", metavar="TEXT", help="End an answer before TEXT; may be repeated.")] = None,
    samples: Annotated[int, option("--samples", min=1, max=1000, metavar="N", help="Answers for each prompt, all of them in bp.completions.")] = 1,
    batch_size: Annotated[int, option("--batch-size", min=1, max=1024, metavar="N", help="Answers made at once.")] = 8,
    score: Annotated[Optional[Literal["exact", "contains", "json", "regex"]], option("--score", help="Compare with the answer that was there; bp.match says the outcome.")] = None,
    check: Annotated[Text, option("--check", metavar="CONDITION", help="Exit with 1 if too few answers match, as in 'match>=.7'.")] = None,
    role_map: RoleMap = None,
) -> None:  # fmt: skip
    """Answer prompts: text or chat records in, records with a last assistant message out."""
    import os

    from bptools.chat import Options
    from bptools.chat.view import Views
    from bptools.models.contenders import Contenders, Loading
    from bptools.models.matching import Check
    from bptools.models.surrogates import with_whole_pairs

    if check is not None and score is None:
        raise UsageError("--check asks for what --score counts; give --score too")
    if no_template and score is not None:
        raise UsageError("--score compares with an answer, and a text to be continued has none")
    if no_template and system is not None:
        raise UsageError("--system has no place without a template; leave out --no-template")
    if no_template and (chat_template != "auto" or template_kwargs):
        raise UsageError("--chat-template and --template-kwargs have no place beside --no-template")
    if "" in (stop or ()):
        raise UsageError("--stop asks for a text; an empty one would end every answer before it begins")
    condition = Check.parse(check) if check is not None else None
    names = with_whole_pairs(json_values("--template-kwargs", template_kwargs))
    loading = Loading(device, dtype, quant, chat_template, names)
    contenders = Contenders(model or [], adapter or [], revision, loading)
    settings = pipe.settings
    how: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "seed": seed,
        "stop": tuple(stop or ()),
        "raw": no_template,
    }
    if not settings.sources and settings.output == "-" and os.isatty(0) and os.isatty(1):
        from bptools.models.conversing import converse

        converse(contenders, pipe.messages, how, system)
        pipe.messages.quiet = True  # a conversation has no counts
        return
    from bptools.models.answering import Wanted, run

    if settings.resolved["split-on"]["origin"] == "default":
        settings.split_on = "line"  # prompts as text are one a line; elsewhere a text file is one record
    settings.otherwise = "text"
    reading = Options(
        role_map=pairs("--role-map", role_map), text_field=settings.text_field, field_map=settings.field_map
    )
    wanted = Wanted(
        **how, samples=samples, batch_size=batch_size, system=system, score=score, check=condition
    )
    run(pipe, Views(reading), contenders, wanted)


def main() -> NoReturn:
    """Run the command."""
    cli.run(app, "bp-generate")
