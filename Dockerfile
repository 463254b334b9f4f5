# One static binary and nothing else: no shell, no libc. CA certificates are not needed either: the only server that claimdir
# calls is the API server, whose CA comes with the service account's token.
# There is no RUN, so an image for any architecture builds on any other. make dist and make image make the same image without a
# container tool; this is for those who build with one: copy a release's binary to ./claimdir first.
FROM scratch
ARG BINARY=claimdir
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="claimdir" \
      org.opencontainers.image.description="Gives every PersistentVolumeClaim its own directory on an existing NFS share" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY ${BINARY} /claimdir
# Nobody, where nothing else is said. The manifests say: the uid that owns the export.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/claimdir"]
