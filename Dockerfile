# syntax=docker/dockerfile:1

# The image of Headgate: one program, what it is linked to, and nothing else. Build it for this machine, or for another one:
#
#   docker build -t headgate .
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg COMMIT=$(git rev-parse --short=12 HEAD) .
#
# Pin both bases by digest where you mirror them: --build-arg BUILD_IMAGE=…@sha256:… --build-arg BASE_IMAGE=…@sha256:…

ARG BUILD_IMAGE=docker.io/library/rust:1.95-bookworm
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

# Builds on the machine's own architecture, for the one that is asked for: no emulation.
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG TARGETARCH=amd64
ARG CARGO_AUDITABLE=0.7.7
WORKDIR /src

# The compiler of C for the other architecture (two dependencies have C in them), and the list of dependencies that goes
# into the program (`cargo auditable`), which `cargo audit bin` and image scanners read.
# hadolint ignore=DL3008
RUN <<'EOF'
case $TARGETARCH in
  amd64) triple=x86_64-linux-gnu ;;
  arm64) triple=aarch64-linux-gnu ;;
  *) echo "TARGETARCH is $TARGETARCH; amd64 and arm64 are known" >&2; exit 1 ;;
esac
echo "$triple" >/triple
rustup target add "$(sed s/-linux/-unknown-linux/ /triple)"
if [ "$(dpkg --print-architecture)" != "$TARGETARCH" ]; then
  apt-get update
  apt-get install -y --no-install-recommends "crossbuild-essential-$TARGETARCH"
  rm -rf /var/lib/apt/lists/*
fi
cargo install --locked "cargo-auditable@$CARGO_AUDITABLE"
EOF

# The same sources give the same bytes: no paths of this machine, no times, no identifiers drawn at random.
ENV SOURCE_DATE_EPOCH=0 \
    CARGO_INCREMENTAL=0 \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CFLAGS="-ffile-prefix-map=/usr/local/cargo=cargo -ffile-prefix-map=/src=." \
    RUSTFLAGS="--remap-path-prefix=/usr/local/cargo=cargo --remap-path-prefix=/src=. -C link-arg=-Wl,--build-id=sha1 -C link-arg=-Wl,-z,pack-relative-relocs -C profile-use=/src/dist/headgate.profdata"

# The dependencies alone: this layer lasts until Cargo.toml, Cargo.lock or the profile changes, by which they are built as
# well (`dist/train` makes it).
COPY Cargo.toml Cargo.lock build.rs ./
COPY dist/headgate.profdata dist/
RUN <<'EOF'
mkdir -p src tests/integration benches/proxy benches/control benches/parts benches/fanout
touch src/lib.rs
for main in src tests/integration benches/proxy benches/control benches/parts benches/fanout; do echo 'fn main() {}' >"$main/main.rs"; done
target=$(sed 's/-linux/-unknown-linux/' /triple)
cargo auditable build --locked --profile dist --target "$target" --bin headgate
rm -r src
EOF

COPY src src
COPY .ci/image-root /usr/local/bin/image-root
ARG COMMIT=unknown
RUN <<'EOF'
target=$(sed 's/-linux/-unknown-linux/' /triple)
touch src/lib.rs src/main.rs # Newer than the empty ones.
HEADGATE_COMMIT=$COMMIT cargo auditable build --locked --offline --profile dist --target "$target" --bin headgate
image-root "target/$target/dist/headgate" /root-of-image
EOF

# Certificates of public authorities, the time zones, the user `nonroot` (65532), and no shell.
FROM ${BASE_IMAGE}
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="headgate" \
      org.opencontainers.image.description="The ingress of a Kubernetes cluster in one process" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /root-of-image /
# By number: Kubernetes cannot tell of a name that it is not root.
USER 65532:65532
EXPOSE 8080 8443 8081
ENTRYPOINT ["/usr/local/bin/headgate"]
CMD ["serve"]
