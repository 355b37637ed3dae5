"""What is told of an answer that refuses."""

from pathlib import Path

import pytest
from aiohttp import web

from tests.support.kubeconfigs import a_kubeconfig
from webhook.cluster.client import MAX_MESSAGE_CHARS, ApiClient
from webhook.cluster.credentials import FromKubeconfig
from webhook.errors import ApiError

DENIAL = "ValidatingAdmissionPolicy 'boundtoken-pods' denied request: " + "violates it; " * 30
WHAT_TO_DO = "annotate namespace or workload"


@pytest.mark.parametrize(
    ("message", "end"),
    [(DENIAL + WHAT_TO_DO, WHAT_TO_DO), (DENIAL * 9 + WHAT_TO_DO, "violates it; …")],
)
async def test_a_denial_is_told_as_a_whole_or_cut_after_a_word(
    tmp_path: Path, message: str, end: str
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "message": message}, status=403)

    application = web.Application()
    application.router.add_get("/version", refuse)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        config = str(a_kubeconfig(tmp_path / "k", site.name))
        async with ApiClient(FromKubeconfig(config, None), "test") as client:
            with pytest.raises(ApiError) as refused:
                await client.get("/version")
    finally:
        await runner.cleanup()
    text = str(refused.value)
    assert text.startswith("403 ValidatingAdmissionPolicy")
    assert text.endswith(end)
    assert len(text) <= len("403 ") + MAX_MESSAGE_CHARS
