package main

import (
	"fmt"
	"os"
	"strings"
)

// allowedSkips holds the reason of each test that may be skipped.
type allowedSkips map[skip]string

func readAllowed(name string) (allowedSkips, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	allowed := allowedSkips{}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 3 {
			return nil, fmt.Errorf("%s:%d: want PACKAGE TEST REASON", name, i+1)
		}
		allowed[skip{words[0], words[1]}] = strings.Join(words[2:], " ")
	}
	return allowed, nil
}

// reason returns why s may be skipped: by its own line or that of a parent test.
func (a allowedSkips) reason(s skip) (string, bool) {
	for {
		if reason, ok := a[s]; ok {
			return reason, true
		}
		cut := strings.LastIndexByte(s.test, '/')
		if cut < 0 {
			return "", false
		}
		s.test = s.test[:cut]
	}
}
