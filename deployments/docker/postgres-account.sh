# Run once by the image of PostgreSQL, when it makes its data: an account for the services, which owns their database.
# A superuser's could run programs in that container, and workers run code that users bring.
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$(cat /run/taskflow/password)" <<'SQL'
CREATE ROLE taskflow LOGIN PASSWORD :'password';
ALTER DATABASE taskflow OWNER TO taskflow;
SQL
