# Taleward's server: docker build -t taleward .
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN docker/install.sh /opt/taleward

FROM python:3.12-slim
# Numbers, so that a cluster can check that the user is not root.
RUN groupadd --gid 10001 taleward \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin taleward \
    && install -d -o 10001 -g 10001 -m 700 /data
COPY --from=build /opt/taleward /opt/taleward
COPY docker/healthcheck.py docker/mlflow.sh /opt/
ENV PATH=/opt/taleward/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TALEWARD_CACHE=/data/cache \
    HF_HUB_OFFLINE=1 \
    DO_NOT_TRACK=1
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 8000
# The models are loaded before the first answer.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["python", "/opt/healthcheck.py"]
# `taleward serve` gets the signal itself, and lets streams end.
STOPSIGNAL SIGTERM
ENTRYPOINT ["taleward"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
