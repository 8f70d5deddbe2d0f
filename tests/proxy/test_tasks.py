"""Tasks live until they end or are cancelled, even if nothing else refers to them."""

import asyncio
import gc

from modelward.tasks import Tasks


async def play() -> tuple[list[str], bool]:
    tasks = Tasks()
    done: list[str] = []
    go_on = asyncio.Event()

    async def end() -> None:
        await go_on.wait()
        done.append("ended")

    tasks.spawn(end())
    left = tasks.spawn(asyncio.sleep(3600))
    await asyncio.sleep(0)
    gc.collect()
    go_on.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks.cancel()
    await asyncio.wait([left])
    return done, left.cancelled()


def test_a_task_goes_on_until_it_ends_or_is_cancelled() -> None:
    assert asyncio.run(play()) == (["ended"], True)
