"""``python -m framefleet.coordinator.simulation``: the scheduler in made-up worlds, beside other methods."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from framefleet.coordinator.simulation.baselines import baselines
from framefleet.coordinator.simulation.campaign import campaign_world
from framefleet.coordinator.simulation.judge import judge
from framefleet.coordinator.simulation.plan import Plan
from framefleet.coordinator.simulation.scenarios import SCENARIOS, WORK_PER_SLOT_S
from framefleet.coordinator.simulation.transcript import shorten
from framefleet.coordinator.simulation.world import Result, SimulationError, World, fails_alike

OURS = "Framefleet"
ALL_SLOTS = (16, 256, 4096)
MAX_STEPS_SHOWN = 400  # of a transcript on the terminal; --transcript FILE has all of it
SCENARIO_HELP = "; ".join(f"{name}: {scenario.about}" for name, scenario in SCENARIOS.items())


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--scenario",
    "names",
    type=click.Choice([*SCENARIOS, "every"]),
    multiple=True,
    default=("lognormal",),
    show_default=True,
    help=f"Which worlds; may be repeated. {SCENARIO_HELP}; every: all of these.",
)
@click.option(
    "--slots",
    type=click.IntRange(1, 65536),
    multiple=True,
    default=ALL_SLOTS,
    show_default=True,
    help="Slots of the cluster, 16 to a host; may be repeated.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The first seed.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="How many, from there on."
)
@click.option(
    "--work",
    type=click.FloatRange(min=0, min_open=True),
    default=WORK_PER_SLOT_S,
    show_default=True,
    metavar="S",
    help="Work per slot of ordinary speed, in seconds.",
)
@click.option("--ours", is_flag=True, help="Only this policy, without the others.")
@click.option(
    "--check", is_flag=True, help="Look at every invariant after every event, and at every frame at the end."
)
@click.option(
    "--faults",
    type=click.IntRange(1),
    metavar="N",
    help="Instead: N small worlds with faults of all kinds, checked; the exit code is 1 if any fails.",
)
@click.option(
    "--replay", type=int, metavar="SEED", help="Instead: one world of --faults again, and all that it did."
)
@click.option(
    "--transcript",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the transcript of a failing world goes, as Python to be pasted into a test.",
)
@click.option("--json", "as_json", is_flag=True, help="Results as JSON lines on standard output.")
def main(**options: Any) -> None:
    """Run the real scheduling core on made-up hosts and videos, under a virtual clock.

    Prints makespan / (W/S). W: seconds that a slot of speed 1 would need to decode and encode all wanted
    frames once, without probing, opening and roll-in. S: the sum of the true speeds of all slots. Hosts
    that start late are no policy's fault: where they do, W/S is the time at which the slots, each busy from
    its start, would be done with W; and it is no less than the fastest slot needs to decode the longest
    GOP. Makespan: from the coordinator's start to the last committed unit.
    Every result depends on the seed alone.
    """
    if options["replay"] is not None:
        sys.exit(_campaign([options["replay"]], options))
    if options["faults"] is not None:
        first = options["seed"]
        sys.exit(_campaign(range(first, first + options["faults"]), options))
    _compare(options)


# ---- the table --------------------------------------------------------------------------------------


def _compare(options: dict[str, Any]) -> None:
    names = list(SCENARIOS) if "every" in options["names"] else options["names"]
    seeds = range(options["seed"], options["seed"] + options["seeds"])
    with _progress(options) as progress:
        task = progress.add_task("worlds", total=len(names) * len(options["slots"]) * len(seeds))
        for name in names:
            ratios: dict[str, dict[int, list[float]]] = {}
            for slots in options["slots"]:
                for seed in seeds:
                    plan = SCENARIOS[name].plan(seed, slots, work_per_slot_s=options["work"])
                    result = _run(plan, options)
                    ratios.setdefault(OURS, {}).setdefault(slots, []).append(result.ratio)
                    others = [] if options["ours"] else list(baselines(plan))
                    for policy, makespan_s in others:
                        ratios.setdefault(policy, {}).setdefault(slots, []).append(
                            makespan_s / result.ideal_s
                        )
                    if options["as_json"]:
                        _print_json(name, slots, seed, result, dict(others))
                    progress.advance(task)
            if not options["as_json"]:
                progress.console.print(_table(name, ratios, options["slots"]))


def _run(plan: Plan, options: dict[str, Any]) -> Result:
    world = World(plan, checks=options["check"])
    try:
        result = world.run()
        if options["check"]:
            judge(world)
    except (SimulationError, AssertionError) as error:
        raise click.ClickException(f"seed {plan.seed}: {error}") from error
    return result


def _table(name: str, ratios: dict[str, dict[int, list[float]]], all_slots: list[int]) -> Table:
    table = Table(title=f"{name}: makespan / (W/S)", caption=SCENARIOS[name].about)
    table.add_column("policy")
    for slots in all_slots:
        table.add_column(f"{slots:,} slots", justify="right")
    for policy, by_slots in ratios.items():
        cells = [_cell(by_slots[slots]) for slots in all_slots]
        table.add_row(policy, *cells, style="bold" if policy == OURS else None)
    return table


def _cell(ratios: list[float]) -> str:
    mean = sum(ratios) / len(ratios)
    return f"{mean:.3f}" if len(ratios) == 1 else f"{mean:.3f} (at most {max(ratios):.3f})"


def _print_json(name: str, slots: int, seed: int, result: Result, others: dict[str, float]) -> None:
    entry = asdict(result) | {
        "scenario": name,
        "slots": slots,
        "seed": seed,
        "ratio": result.ratio,
        "others": {policy: makespan_s / result.ideal_s for policy, makespan_s in others.items()},
    }
    click.echo(json.dumps(entry))


# ---- faults -----------------------------------------------------------------------------------------


def _campaign(seeds: Any, options: dict[str, Any]) -> int:
    """Worlds with faults, checked; returns the exit code."""
    failed: list[int] = []
    happened: dict[str, int] = {}
    frames = units = 0
    with _progress(options) as progress:
        for seed in progress.track(seeds, description="worlds"):
            world = campaign_world(seed)
            try:
                result = world.run()
                judge(world)
            except (SimulationError, AssertionError) as error:
                failed.append(seed)
                progress.console.print(f"[red]seed {seed}: {error}", markup=True, soft_wrap=True)
                if len(failed) == 1:  # shortening takes its time, and seeds can be replayed
                    _show_transcript(world, error, options)
                continue
            for what, count in result.happened.items():
                happened[what] = happened.get(what, 0) + count
            frames += sum(video.frames for video in world.core.pool.videos)
            units += result.units
            if options["as_json"]:
                click.echo(json.dumps({"seed": seed} | asdict(result)))
            elif options["replay"] is not None:
                for at, host, what in world.happened:
                    progress.console.print(f"{at:9.3f} s  {host}  {what}")
                progress.console.print(asdict(result))
    if not options["as_json"]:
        faults = ", ".join(f"{count} x {what}" for what, count in sorted(happened.items()))
        click.echo(f"{len(seeds)} worlds, {units} units, {frames} frames; {faults or 'no faults'}")
        click.echo("all frames committed once" if not failed else f"failed: seeds {failed}")
    return 1 if failed else 0


def _show_transcript(world: World, error: Exception, options: dict[str, Any]) -> None:
    """The shortest transcript that still breaks the core in the same way; the whole one if none does."""
    transcript = shorten(world.transcript, lambda shorter: fails_alike(shorter, error))
    source = transcript.source()
    if options["transcript"] is not None:
        options["transcript"].write_text(source + "\n")
        click.echo(f"transcript: {options['transcript']}", err=True)
    elif len(transcript.steps) <= MAX_STEPS_SHOWN:
        click.echo(source)
    else:
        short = replace(transcript, steps=transcript.steps[-20:])
        click.echo(
            f"the last of {len(transcript.steps)} steps (--transcript FILE has all):\n{short.source()}"
        )


def _progress(options: dict[str, Any]) -> Progress:
    return Progress(console=Console(stderr=options["as_json"]), transient=True)


if __name__ == "__main__":
    main()
