async def test_a_message_reaches_everybody(pods):
    pod = await pods.start()
    ann, bob = await pod.person("Ann"), await pod.person("Bob")
    room = await ann.room(bob)
    a, b = await ann.native(), await bob.native()
    await a.join(room)
    await b.join(room)
    sent = await a.send(room, "안녕", clientId="c1")
    for door in (a, b):
        event = await door.event("message", id=sent["messageId"])
        assert event["text"] == "안녕" and event["clientId"] == "c1" and event["changedSeq"] == sent["changedSeq"]
