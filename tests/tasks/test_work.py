import asyncio

import pytest
from prefect.states import exception_to_failed_state

from tasks.work import is_transient


@pytest.mark.parametrize(("error", "again"), [(OSError("disk"), True), (ValueError("bad"), False)])
def test_only_failures_of_input_and_output_are_tried_again(error: Exception, again: bool) -> None:
    async def judged() -> bool:  # Prefect asks inside a running loop
        return is_transient(None, None, await exception_to_failed_state(error))

    assert asyncio.run(judged()) is again
