"""`engagement topics`: create what is needed, check what is there, grow to more partitions."""

from pathlib import Path

import click

from stream.commands.state import grow
from stream.settings import Settings
from stream.terminal import BadUse, load_settings, settings_options, told


def make_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing; returns their names."""
    from stream.kafka.options import client_options
    from stream.kafka.topic_specs import topic_specs
    from stream.kafka.topics import check_topics, create_topics

    specs, options = topic_specs(settings), client_options(settings)
    # Looked at before any is made: topics of the wrong size beside those of the right one help nobody.
    problems = [problem for problem in check_topics(specs, client_options=options) if not problem.is_missing]
    if problems:
        raise BadUse("\n".join(f"{problem.problem}\n  mend it with: {problem.remedy}" for problem in problems))
    return create_topics(specs, client_options=options, replication=settings.topics.replication)


@click.group()
def topics() -> None:
    """Create the topics that are needed, or check those that are there.

    \b
    Example: engagement topics check --kafka localhost:9092
    """


@topics.command(name="create")
@settings_options
@click.option("--partitions", type=click.IntRange(1), help="Partitions of each topic; the setting topics.partitions.")
def topics_create(file: Path | None, kafka: str | None, partitions: int | None) -> None:
    """Create the missing ones; those that exist are left as they are.

    \b
    Example: engagement topics create --kafka localhost:9092 --partitions 12
    """
    from stream.kafka.topic_specs import topic_specs

    settings = load_settings(file, kafka, topics__partitions=partitions)
    with told():
        created = make_topics(settings)
    for spec in topic_specs(settings):
        click.echo(f"{'created' if spec.name in created else 'exists '}  {spec.name}")


@topics.command(name="check")
@settings_options
@click.option("--partitions", type=click.IntRange(1), help="Partitions of each topic; the setting topics.partitions.")
def topics_check(file: Path | None, kafka: str | None, partitions: int | None) -> None:
    """Say what is wrong with the topics, and what mends it; exits with 1 when something is.

    \b
    Example: engagement topics check --kafka localhost:9092
    """
    with told():
        _report_problems(load_settings(file, kafka, topics__partitions=partitions))
    click.echo("all topics are as they should be")


def _report_problems(settings: Settings) -> None:
    from stream.kafka.options import client_options
    from stream.kafka.topic_specs import topic_specs
    from stream.kafka.topics import check_topics

    problems = check_topics(topic_specs(settings), client_options=client_options(settings))
    for problem in problems:
        click.echo(f"{problem.problem}\n  mend it with: {problem.remedy}", err=True)
    if problems:
        raise SystemExit(1)


topics.add_command(grow)
