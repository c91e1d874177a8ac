#!/bin/sh
# Runs MLflow on Postgres. The password comes from a secret's file, and is in no command line.
set -eu
password=$(cat "$POSTGRES_PASSWORD_FILE")
export MLFLOW_BACKEND_STORE_URI="postgresql+psycopg://taleward:${password}@postgres:5432/mlflow"
exec mlflow server --host 0.0.0.0 --port 5000 --artifacts-destination /data/artifacts --workers 1 \
    --allowed-hosts "mlflow:5000,localhost:5000,127.0.0.1:5000"
