"""Messages go with their room, users stay with their messages, and the migration that saw to it makes nobody fail."""

import importlib
import threading
import time

import psycopg2
import pytest

from models.base import new_id

parents = importlib.import_module("models.migrations.0011_parents")


@pytest.fixture
def connect(database_url):
    made = []

    def connect():
        made.append(psycopg2.connect(database_url))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


@pytest.fixture
def room(connect):
    """(room id, user id): a member who has written one message."""
    room_id, user_id = new_id(), new_id()
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("insert into users (id, email, name) values (%s, %s, 'x')", (user_id, user_id))
        cursor.execute("insert into rooms (id, name) values (%s, 'x')", (room_id,))
        cursor.execute("insert into room_heads (room_id, head, last_seq) values (%s, 1, 1)", (room_id,))
        cursor.execute("insert into members (room_id, user_id, role) values (%s, %s, 'owner')", (room_id, user_id))
        cursor.execute(WRITE, (new_id(), room_id, 1, user_id))
    return room_id, user_id


WRITE = "insert into messages (id, room_id, seq, changed_seq, user_id, role, content) values (%s, %s, %s, 1, %s, 'user', 'x')"


def count(connect, room_id):
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from messages where room_id = %s", (room_id,))
        return cursor.fetchone()[0]


def waits(connect, words):
    """Returns once a statement like this waits for a lock."""
    with connect() as connection, connection.cursor() as cursor:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            cursor.execute(
                "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like %s and pid <> pg_backend_pid()",
                (words,),
            )
            if cursor.fetchone():
                return
            connection.rollback()
            time.sleep(0.01)
    raise AssertionError(words)


def test_a_rooms_messages_go_with_it_even_one_that_is_being_written(connect, room):
    room_id, user_id = room
    writer, remover = connect(), connect()
    with writer.cursor() as cursor:
        cursor.execute("update room_heads set head = head + 1, last_seq = last_seq + 1 where room_id = %s", (room_id,))
        cursor.execute(WRITE.replace(", 1, %s", ", 2, %s"), (new_id(), room_id, 2, user_id))

    def remove():
        with remover.cursor() as cursor:
            cursor.execute("delete from rooms where id = %s", (room_id,))
        remover.commit()

    removing = threading.Thread(target=remove)
    removing.start()
    waits(connect, "delete from rooms%")
    writer.commit()
    removing.join()
    assert count(connect, room_id) == 0
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("update room_heads set head = head + 1 where room_id = %s", (room_id,))
        assert cursor.rowcount == 0


def test_a_user_who_has_written_is_not_deleted_by_hand_and_others_are(connect, room):
    _, user_id = room
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("delete from members where user_id = %s", (user_id,))
        with pytest.raises(psycopg2.errors.ForeignKeyViolation, match="messages of this user"):
            cursor.execute("delete from users where id = %s", (user_id,))
        connection.rollback()
        silent = new_id()
        cursor.execute("insert into users (id, email, name) values (%s, %s, 'x')", (silent, silent))
        cursor.execute("delete from users where id = %s", (silent,))
        assert cursor.rowcount == 1


def test_the_migration_gives_way_to_who_holds_one_table_and_wants_the_other(connect, room):
    reader, migrator = connect(), connect()
    with reader.cursor() as cursor:
        cursor.execute("select from rooms")
    locked = threading.Event()

    def lock():
        with migrator.cursor() as cursor:
            cursor.execute(parents.LOCK)
        locked.set()

    locking = threading.Thread(target=lock)
    locking.start()
    waits(connect, "%lock table messages, rooms, users%")
    began = time.monotonic()
    with reader.cursor() as cursor:
        cursor.execute("select from messages")  # no deadlock, and no wait of a second for one to be found
    assert time.monotonic() - began < 0.9 and not locked.is_set()
    reader.commit()
    locking.join(20)
    assert locked.is_set()
    with migrator.cursor() as cursor:
        cursor.execute("select mode from pg_locks where pid = pg_backend_pid() and relation = 'rooms'::regclass")
        assert ("AccessExclusiveLock",) in cursor.fetchall()
    migrator.rollback()


def test_the_migration_gives_up_on_tables_that_are_read_all_the_time_and_holds_nobody_up(connect, room):
    reader, migrator, another = connect(), connect(), connect()
    with reader.cursor() as cursor:
        cursor.execute("select from messages")
    assert f"1..{parents.TRIES} loop" in parents.LOCK
    with migrator.cursor() as cursor, pytest.raises(psycopg2.errors.LockNotAvailable, match="try again later"):
        cursor.execute(parents.LOCK.replace(f"1..{parents.TRIES} loop", "1..3 loop"))
    with another.cursor() as cursor:
        cursor.execute("set lock_timeout = '1s'")
        cursor.execute("select from messages")
    migrator.rollback()
