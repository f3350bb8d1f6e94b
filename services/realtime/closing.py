"""Why a connection is ended: close codes. 1001 to 1012 are RFC 6455's; from 4000 come back, from 4500 don't by yourself."""

BAD_UTF8 = 1007
TOO_BIG = 1009
RESTARTING = 1012
SLOW = 4000
RESYNC = 4001
STAY_AWAY = 4500  # this and what is above
SESSION_ENDED = 4500
EXPIRED = 4501
ABUSE = 4502
DISABLED = 4503
