"""A load in transactions: who reads committed records finds what it says it has sent, and nothing else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaTimeoutError

from tests.chaos.transactions import Counted, TransactionalLoad, told_as_aborted, without_the_lost
from tests.integration.deployment import Deployment, Load, arriving, login
from tests.integration.fixtures import Deploy
from tests.integration.kafka_server import RunningKafka


@pytest.mark.kafka
def test_what_was_aborted_is_not_among_what_was_sent(kafka: RunningKafka, deploy: Deploy) -> None:
    deployment = deploy(kafka.address)
    deployment.create_topics()
    with deployment.load(arriving(users=100, days=5), rate=300, kind=TransactionalLoad) as load:
        while len(load.sent) < 1_000:
            assert load.is_alive()
            time.sleep(0.1)
        is_through = load.through()
        assert not is_through()
        while not is_through():
            assert load.is_alive()
            time.sleep(0.1)

    committed = deployment.produced(at_least=len(load.sent))

    assert isinstance(load, TransactionalLoad)
    assert (load.lost, load.gained) == ([], 0)
    assert Counter(record.value for record in committed.values()) == Counter(event.value for event in load.sent)
    assert len(committed) < count_with_aborted(deployment)


@pytest.mark.kafka
def test_a_transaction_of_which_nobody_says_how_it_ended_is_looked_up(
    kafka: RunningKafka, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, commits = KafkaProducer.commit_transaction, [0]

    def without_an_answer(self: KafkaProducer) -> None:
        """Of three commits one is never answered, and of these every other one is never sent."""
        commits[0] += 1
        if commits[0] % 6:
            commit(self)
        if commits[0] % 3 == 0:
            time.sleep(3_600)

    monkeypatch.setattr(KafkaProducer, "commit_transaction", without_an_answer)
    monkeypatch.setattr("tests.chaos.transactions._TIMEOUT_SECONDS", 2.0)
    sent_until(deploy(kafka.address), lambda load: commits[0] >= 13)


@pytest.mark.kafka
def test_a_transaction_that_a_new_epoch_of_its_producer_aborts_is_sent_again(
    kafka: RunningKafka, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, commits = KafkaProducer.commit_transaction, [0]

    def with_a_new_epoch(self: KafkaProducer) -> None:
        """Of three commits one comes too late: the producer begins a new epoch, as it does by itself after errors."""
        commits[0] += 1
        if commits[0] % 3 == 0:
            self._transaction_manager.bump_producer_id_and_epoch()
            while self._transaction_manager.is_bumping_epoch():
                time.sleep(0.01)
            return  # as kafka-python says then
        commit(self)

    monkeypatch.setattr(KafkaProducer, "commit_transaction", with_a_new_epoch)
    sent_until(deploy(kafka.address), lambda load: commits[0] >= 7)


@pytest.mark.kafka
def test_a_producer_whose_beginning_nobody_answers_is_given_up(
    kafka: RunningKafka, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, beginnings = KafkaProducer.init_transactions, [0]

    def without_an_answer(self: KafkaProducer) -> None:
        """Of two beginnings the first is never answered."""
        beginnings[0] += 1
        if beginnings[0] % 2:
            time.sleep(self.config["max_block_ms"] / 1_000)
            raise KafkaTimeoutError("no answer")
        begin(self)

    monkeypatch.setattr(KafkaProducer, "init_transactions", without_an_answer)
    monkeypatch.setattr("tests.chaos.transactions._TIMEOUT_SECONDS", 2.0)
    sent_until(deploy(kafka.address), lambda load: bool(load.sent), max_block_ms=900_000)


@pytest.mark.kafka
def test_a_committed_transaction_that_kafka_loses_is_told_and_not_expected(
    kafka: RunningKafka, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, commits = KafkaProducer.commit_transaction, [0]

    def committed_in_words_only(self: KafkaProducer) -> None:
        """Of three commits one is answered and then lost."""
        commits[0] += 1
        if commits[0] % 3 == 0:
            self.abort_transaction()
        else:
            commit(self)

    monkeypatch.setattr(KafkaProducer, "commit_transaction", committed_in_words_only)
    load = sent_until(deploy(kafka.address), lambda load: commits[0] >= 7)
    assert load.lost
    assert all("the commit was answered" in told for told in load.lost)


def test_of_a_transaction_that_is_there_in_part_everything_is_expected() -> None:
    places = [("logins", 0, offset) for offset in range(6)]
    whole, partly, gone = (
        Counted([login(name, 1), login(name, 2)], places[2 * number : 2 * number + 2], "the commit was answered")
        for number, name in enumerate(("ada", "bob", "cy"))
    )

    kept, lost = without_the_lost([whole, partly, gone], {*whole.places, partly.places[1]})

    assert kept == [whole, partly]
    assert lost == ["transaction 3 of 2 events: the commit was answered; none of them is for readers"]


def sent_until(deployment: Deployment, holds: Callable[[Load], bool], **options: object) -> Load:
    """A load that was sent until something held: what can be read is what it says it has sent."""
    deployment.create_topics()
    events = arriving(users=100, days=5)
    with deployment.load(events, rate=300, kind=TransactionalLoad, **options) as load:
        while not holds(load):
            assert load.is_alive()
            time.sleep(0.1)

    committed = deployment.produced(at_least=len(load.sent))
    assert Counter(record.value for record in committed.values()) == Counter(event.value for event in load.sent)
    return load


def count_with_aborted(deployment: Deployment) -> int:
    """How many records the inputs hold, aborted ones too."""
    inputs = deployment.settings.input_topics.values()
    consumer = KafkaConsumer(*inputs, **deployment.client, auto_offset_reset="earliest", consumer_timeout_ms=3_000)
    count = sum(1 for _ in consumer)
    consumer.close()
    return count


def test_what_kafka_has_committed_is_expected_although_its_client_has_given_it_up() -> None:
    one, two, foreign = login("one", 1), login("two", 2), login("foreign", 3)
    counted = [Counted([one], [("logins", 0, 0)], "the commit was answered")]
    readable = {("logins", 0, 0): one.value, ("logins", 0, 2): two.value, ("logins", 1, 0): foreign.value}
    sent = {("logins", event.value): event for event in (one, two)}

    found = told_as_aborted(counted, readable, sent)

    assert found is not None
    assert (found.events, found.places) == ([two], [("logins", 0, 2)])
    assert told_as_aborted(counted, {("logins", 0, 0): one.value}, sent) is None
