# Two commands set everything up: `make demo` runs the main job, `make test` passes all tests. Both install what is
# missing, by apt, npm and pip where they may; see tests/drivers/install.sh.

.PHONY: demo test test-matrix lint build bench regress driver-suites

# Without Node.js or what npm would fetch, the demo has no application, and everything else.
demo:
	@tests/drivers/install.sh postgres
	-@tests/drivers/install.sh demo
	cargo run --release -- demo --app examples/todos/start $(DEMO)

build:
	cargo build --workspace --all-targets

test:
	@tests/drivers/install.sh
	cargo test --workspace

test-matrix:
	tests/matrix $(VERSIONS)

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo deny check

bench:
	benches/side_by_side

regress:
	tests/regress/run postgres $(REGRESS)

driver-suites:
	tests/regress/run psycopg asyncpg $(REGRESS)
