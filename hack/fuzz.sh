#!/usr/bin/env bash
# Fuzzes every target of the product for FUZZTIME each (default 30s). make test
# runs them too, but over their seeds only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

grep -rl --include='*_test.go' '^func Fuzz' cmd provisioner | while read -r file; do
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file" | while read -r target; do
		echo "== $target"
		go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" -fuzzminimizetime 10x
	done
done
