"""`engagement topics`: create the topics of a deployment, check them, add partitions, or say who needs which rights."""

from pathlib import Path

import click

from stream.commands.rights import rights
from stream.commands.state import grow
from stream.settings import Settings
from stream.terminal import Failure, OperatorMistake, failures_in_one_line, load_settings, settings_options


def create_missing_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing; returns their names. Raises OperatorMistake if one that exists is wrong.

    A topic that may not be described is taken as it is: who needs it has asked for the right to it before.
    """
    from stream.kafka.access import describe_missing
    from stream.kafka.options import client_options
    from stream.kafka.rights import Right
    from stream.kafka.topic_specs import topic_specs
    from stream.kafka.topics import CreationNotAllowed, check_topics, create_topics

    specs, options = topic_specs(settings), client_options(settings)
    # Check before creating anything: new topics beside topics with another number of partitions would not help.
    found = check_topics(specs, client_options=options)
    may_run = [problem for problem in found if problem.is_missing or problem.is_hidden or problem.can_run]
    problems = [problem for problem in found if problem not in may_run]
    if problems:
        raise OperatorMistake("\n".join(f"{problem.problem}\n  mend it with: {problem.remedy}" for problem in problems))
    try:
        return create_topics(specs, client_options=options, replication=settings.topics.replication)
    except CreationNotAllowed as error:
        (how_to_allow,) = describe_missing([Right("Create", "topic", error.topic)], settings)
        raise Failure(f"{error}\n  or let us create it: {how_to_allow}") from None


@click.group()
def topics() -> None:
    """Create the topics of a deployment, check them, add partitions, or say which rights are needed.

    \b
    Example: engagement topics check --kafka localhost:9092
    """


@topics.command(name="create")
@settings_options
@click.option("--partitions", type=click.IntRange(1), help="Partitions of each topic. Setting: topics.partitions.")
def topics_create(file: Path | None, kafka: str | None, partitions: int | None) -> None:
    """Create the topics that are missing. Topics that exist stay as they are.

    \b
    Example: engagement topics create --kafka localhost:9092 --partitions 12
    """
    from stream.kafka.access import required_rights
    from stream.kafka.topic_specs import topic_specs

    settings = load_settings(file, kafka, topics__partitions=partitions)
    with failures_in_one_line(), required_rights(settings, "topics create"):
        created = create_missing_topics(settings)
    for spec in topic_specs(settings):
        click.echo(f"{'created' if spec.name in created else 'exists '}  {spec.name}")


@topics.command(name="check")
@settings_options
@click.option("--partitions", type=click.IntRange(1), help="Partitions of each topic. Setting: topics.partitions.")
def topics_check(file: Path | None, kafka: str | None, partitions: int | None) -> None:
    """Say what is wrong with the topics, and how to mend it. The exit status is 1 if something is wrong.

    \b
    Example: engagement topics check --kafka localhost:9092
    """
    from stream.kafka.access import required_rights

    settings = load_settings(file, kafka, topics__partitions=partitions)
    with failures_in_one_line(), required_rights(settings, "topics check"):
        _report_problems(settings)
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
topics.add_command(rights)
