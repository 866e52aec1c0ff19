"""What users said is erased when it is older than retention allows: at the start, then daily."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool

from accord.serving.feedback import LOG, Feedback

DAY_S = 24 * 3600.0


async def forget_daily(
    feedback: Feedback, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Until it is cancelled; where nothing is kept, or all of it, there is nothing to do."""
    while feedback.store is not None and feedback.retention_days is not None:
        before = feedback.now() - feedback.retention_days * DAY_S
        try:
            count, exports = await run_in_threadpool(feedback.store.forget, before=before)
            LOG.info(json.dumps({"erased_by_age": count, "exports": exports}))
        except Exception as error:  # a store that is away today is asked again tomorrow
            LOG.error(json.dumps({"erased_by_age": None, "error": str(error)}))
        await sleep(DAY_S)
