"""`scripts/reindex.py` beside a running pod: what waits, all of it again, and a model that does not answer."""

import asyncio
import os
import sys

from tests.conftest import ROOT
from tests.pods import SECRET
from tests.services.test_search import texts


async def reindex(database_url, *arguments, **environment):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "scripts/reindex.py", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DATABASE_URL": database_url, "JWT_SECRET": SECRET, **environment},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


async def test_what_waits_is_indexed_and_all_of_it_can_be_made_again(pods, model, database_url):
    pod = await pods.start(sends_per_10s=0)
    pod.services.indexer.changed = lambda room_id: None
    ann = await pod.person("Ann")
    room = await ann.room()
    for n in range(20):
        await ann.post(f"/rooms/{room}/messages", {"text": f"고양이 {n}"})
    given = {name.upper(): value for name, value in model.embedding.items()}
    code, out, err = await reindex(database_url, **given)
    assert code == 0 and "words: " in out and "meaning-1: 20 changes" in out, (out, err)

    def counts(sql):
        return sql.row("select (select count(*) from search_messages), (select messages from search_totals),"
                       " (select count(*) from message_vectors), (select max(messages) from search_terms)")  # fmt: skip

    assert await pod.services.db.run_bare(counts) == (20, 20, 20, 20)
    code, out, _ = await reindex(database_url, "--again", **given)
    assert code == 0 and "words: 20 changes" in out and "meaning-1: 20 changes" in out
    assert await pod.services.db.run_bare(counts) == (20, 20, 20, 20)
    assert len(await texts(ann, "고양이")) == 20


async def test_a_model_that_does_not_answer_is_told_and_what_waits_stays(pods, model, database_url):
    pod = await pods.start()
    ann = await pod.person()
    room = await ann.room()
    await ann.post(f"/rooms/{room}/messages", {"text": "고양이"})
    model.embed = lambda given: (401, {})
    given = {name.upper(): value for name, value in model.embedding.items()}
    code, _, err = await reindex(database_url, "--only", "vectors", **given)
    assert code == 1 and "meaning-1: 1 messages still wait" in err
    code, _, err = await reindex(database_url, "--only", "vectors")
    assert code == 2 and "EMBEDDING_MODEL" in err
