.PHONY: demo test check bench
demo: ; ./dev demo
test: ; ./dev test
check: ; ./dev check
bench: ; ./dev bench
