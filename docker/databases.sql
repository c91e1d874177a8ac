-- Postgres runs this once, when its volume is empty: one database for MLflow, one for threads and vectors.
CREATE DATABASE mlflow;
CREATE DATABASE threads;
