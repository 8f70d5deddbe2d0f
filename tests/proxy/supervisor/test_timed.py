"""Values that hold until a time."""

import asyncio
import time

from modelward.supervisor.timed import Timed


def test_a_value_ends_at_its_time_and_one_that_was_dropped_or_replaced_does_not_end_again() -> None:
    async def main() -> None:
        over = asyncio.Event()
        ended: list[str] = []

        def end(value: str) -> None:
            ended.append(value)
            over.set()

        timed = Timed[str, str](end)
        now = time.time()
        timed.put("a", "replaced", now - 1)
        timed.put("b", "dropped", now - 1)
        timed.put("a", "last", now - 1)
        timed.drop("b")
        timed.drop("unknown")
        timed.put("c", "stays", now + 3600)
        await over.wait()
        assert (ended, timed.values) == (["last"], {"c": "stays"})
        timed.drop("c")

    asyncio.run(main())
