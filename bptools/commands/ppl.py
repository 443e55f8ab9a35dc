"""bp-ppl: how well a language model predicts each record, and a cut at both ends.

bp-chatml raw.jsonl | bp-dedup --minhash | bp-ppl --keep 5:95 > clean.jsonl
"""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn, Optional

from bptools.commands.shared import (
    ChatTemplate,
    Device,
    Number,
    Revision,
    RoleMap,
    TemplateKwargs,
    Text,
    Threads,
    WeightQuant,
    WeightType,
)
from bptools.core import cli
from bptools.core.errors import UsageError
from bptools.core.options import data_command, json_values, option, pairs
from bptools.core.pipeline import Pipeline

app = cli.command_app()


@app.command(cls=cli.PlainCommand)
@data_command("bp-ppl", drops=True)
def ppl(
    pipe: Pipeline,
    keep: Annotated[Text, option("--keep", metavar="LO:HI", help="Keep what lies between two percentiles, as 5:95.")] = None,
    bounds: Annotated[Text, option("--bounds", metavar="LO:HI", help="Keep what lies between two values; either may be left out.")] = None,
    cutoffs: Annotated[Text, option("--cutoffs", metavar="FILE", help="Keep what lies between the values that --save-cutoffs wrote.")] = None,
    save_cutoffs: Annotated[Text, option("--save-cutoffs", metavar="FILE", help="Write the values of the percentiles to FILE.")] = None,
    metric: Annotated[Optional[Literal["ppl", "bpb", "gain"]], option("--metric", help="What is cut by; default: ppl.")] = None,
    by: Annotated[Text, option("--by", metavar="FIELD", help="Take percentiles for each value of a field by itself.")] = None,
    on: Annotated[Literal["assistant", "last", "user", "all"], option("--on", help="What is scored.")] = "assistant",
    model: Annotated[Text, option("--model", metavar="MODEL", help="nano, a folder, a preset, or OWNER/NAME of the hub; default: nano, or the base of --adapter.")] = None,
    adapter: Annotated[Text, option("--adapter", metavar="DIR", help="A LoRA adapter on the model.")] = None,
    baseline: Annotated[Text, option("--baseline", metavar="MODEL", help="Score with another model too, or with none for the model without the adapter, and add bp.gain.")] = None,
    revision: Revision = None,
    device: Device = "auto",
    dtype: WeightType = "auto",
    quant: WeightQuant = "none",
    threads: Threads = None,
    chat_template: ChatTemplate = "auto",
    template_kwargs: TemplateKwargs = None,
    no_template: Annotated[bool, option("--no-template", help="Score contents as they stand, a blank line between turns.")] = False,
    window: Annotated[Number, option("--window", min=2, metavar="N", help="Tokens read at once; default: what the model reads, at most 2048, of nano 512.")] = None,
    stride: Annotated[Number, option("--stride", min=1, metavar="N", help="Tokens by which windows advance; default: three quarters of --window.")] = None,
    batch_tokens: Annotated[int, option("--batch-tokens", min=1, metavar="N", help="Tokens in a batch, padding included.")] = 4096,
    cache: Annotated[Text, option("--cache", metavar="DIR", help="Keep scores in DIR, and take those that are there.")] = None,
    role_map: RoleMap = None,
) -> None:  # fmt: skip
    """Score records by their perplexity under a language model, and cut off what is too high or too low."""
    from bptools.chat import Options, as_conversation
    from bptools.chat.view import Views
    from bptools.models.contenders import BASE_ALONE, Contenders, Loading
    from bptools.models.surrogates import with_whole_pairs
    from bptools.quality.perplexity.cutting import Cut

    settings = pipe.settings
    cut = Cut(metric, bounds=bounds, keep=keep, cutoffs=cutoffs, by=by)
    if baseline == BASE_ALONE and adapter is None:
        raise UsageError("--baseline none is the model without the adapter, and there is no --adapter")
    if cut.metric == "gain" and baseline is None:
        raise UsageError(
            "--metric gain is against a --baseline; name a model, or none for the one without the adapter"
        )
    if save_cutoffs is not None and keep is None:
        raise UsageError("--save-cutoffs writes the values of --keep; give it too")
    if no_template and (chat_template != "auto" or template_kwargs):
        raise UsageError("--chat-template and --template-kwargs have no place beside --no-template")
    names = with_whole_pairs(json_values("--template-kwargs", template_kwargs))
    loading = Loading(device, dtype, quant, chat_template, names, threads)
    models = [model] if model is not None else []
    beside = [BASE_ALONE] if baseline == BASE_ALONE else []
    contenders = [
        Contenders(models, [*([adapter] if adapter is not None else []), *beside], revision, loading)
    ]
    if baseline is not None and not beside:
        contenders.append(Contenders([baseline], [], None, loading))
    pipe.intake.coerce = as_conversation
    reading = Options(
        role_map=pairs("--role-map", role_map), text_field=settings.text_field, field_map=settings.field_map
    )
    from bptools.quality.perplexity import running

    running.run(
        pipe,
        Views(reading),
        contenders,
        cut,
        save_cutoffs,
        on=on,
        no_template=no_template,
        window=window,
        stride=stride,
        batch_tokens=batch_tokens,
        cache=cache,
    )


def main() -> NoReturn:
    """Run the command."""
    cli.run(app, "bp-ppl")
