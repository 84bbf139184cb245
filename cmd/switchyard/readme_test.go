package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	return string(text)
}

// blocks returns the README's code blocks of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	var all []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		all = append(all, match[1])
	}
	require.NotEmpty(t, all)
	return all
}

func TestTheReadmesCodeIsCutFromTheExamples(t *testing.T) {
	for i, source := range []string{"examples/start/main.go", "examples/shop/order/order_test.go"} {
		text, err := os.ReadFile("../../" + source)
		require.NoError(t, err)
		require.Contains(t, string(text), blocks(t, "go")[i], source)
	}
}

func TestTheReadmesCommandsExistWithTheirFlags(t *testing.T) {
	command := regexp.MustCompile(`(?m)(?:^|\$ )(?:go run \./cmd/)?switchyard ([^#\n]+)`)
	seen := 0
	for _, block := range append(blocks(t, "sh"), blocks(t, "text")...) {
		for _, match := range command.FindAllStringSubmatch(block, -1) {
			line := strings.TrimSpace(match[1])
			words := regexp.MustCompile(`'[^']*'|[^\s']+`).FindAllString(line, -1)
			for i := range words {
				words[i] = strings.Trim(words[i], "'")
			}
			a := &app{}
			found, rest, err := a.rootCommand().Find(words)
			require.NoError(t, err, line)
			require.NotEqual(t, "switchyard", found.Name(), line)
			require.NoError(t, found.ParseFlags(rest), line)
			require.NoError(t, found.ValidateArgs(found.Flags().Args()), line)
			seen++
		}
	}
	require.Greater(t, seen, 10)
}

func TestTheReadmesQuickstartIsWhatItPrints(t *testing.T) {
	source, err := os.ReadFile("quickstart.go")
	require.NoError(t, err)
	numbers := regexp.MustCompile(`[0-9,]+ (changes|commits|files)|of [0-9]+ files`)
	steps := 0
	for line := range strings.Lines(blocks(t, "text")[0]) {
		if !strings.HasPrefix(line, "# ") {
			continue
		}
		pattern := numbers.ReplaceAllStringFunc(strings.TrimSpace(line), func(match string) string {
			return regexp.MustCompile(`[0-9,]+`).ReplaceAllString(match, "%s")
		})
		require.Contains(t, string(source), pattern)
		steps++
	}
	require.Equal(t, 5, steps)
}

func TestTheReadmesMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	for _, match := range regexp.MustCompile("make ([a-z]+)").FindAllStringSubmatch(readme(t), -1) {
		require.Contains(t, string(makefile), "\n"+match[1]+":", match[0])
	}
}
