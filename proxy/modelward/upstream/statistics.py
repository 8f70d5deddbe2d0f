"""Statistics of the models that upstreams run, as they tell them: of several upstreams the sum."""

from collections.abc import Iterable
from typing import Any

from modelward.rpc.call import Call
from modelward.rpc.protocol import Code, Message, RpcError, message_class
from modelward.upstream.forwarder import Forwarder

Told = dict[str, list[Any]]  # ModelStatistics by model, versions in the upstream's order


class UpstreamStatistics:
    """Of the models that one list of upstreams runs."""

    def __init__(self, asked: Forwarder) -> None:
        self._asked = asked

    async def ask(self, name: str, version: str, call: Call) -> Told | None:
        """name: "" for all models. None where no upstream has the method. RpcError: as Forwarder.ask_all."""
        request = message_class("inference.ModelStatisticsRequest")(name=name, version=version)
        try:
            answers = await self._asked.ask_all("ModelStatistics", request, call)
        except RpcError as error:
            if error.code == Code.UNIMPLEMENTED:
                return None
            raise
        return added(answers)


def added(answers: Iterable[Message]) -> Told:
    """Of ModelStatisticsResponses, the stats of each version added up."""
    sums: dict[tuple[str, str], Any] = {}
    for answer in answers:
        for stats in answer.model_stats:
            key = stats.name, stats.version
            if key in sums:
                _add_model(sums[key], stats)
            else:
                sums[key] = stats
    told: Told = {}
    for (name, _), stats in sums.items():
        told.setdefault(name, []).append(stats)
    return told


def _add_model(to: Any, more: Any) -> None:
    to.last_inference = max(to.last_inference, more.last_inference)
    to.inference_count += more.inference_count
    to.execution_count += more.execution_count
    _add(to.inference_stats, more.inference_stats)
    of_size = {batch.batch_size: batch for batch in to.batch_stats}
    for batch in more.batch_stats:
        if batch.batch_size in of_size:
            _add(of_size[batch.batch_size], batch)
        else:
            to.batch_stats.append(batch)
    to.memory_usage.extend(more.memory_usage)
    for key, response in more.response_stats.items():
        _add(to.response_stats[key], response)


def _add(to: Any, more: Any) -> None:
    """Every duration of a message of durations."""
    for field, duration in more.ListFields():
        if field.message_type is not None:
            mine = getattr(to, field.name)
            mine.count += duration.count
            mine.ns += duration.ns
