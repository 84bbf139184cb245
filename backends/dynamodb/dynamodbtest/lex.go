package dynamodbtest

import "strings"

// token is a part of an expression, and where it lies.
type token struct {
	text       string
	start, end int
}

// tokens splits an expression into names (plain, #name, :name), numbers and
// operators. What is neither becomes a token of one byte, which no rule of the
// grammar accepts.
func tokens(src string) []token {
	var out []token
	for i := 0; i < len(src); {
		end := i + 1
		switch c := src[i]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
			continue
		case c == '#' || c == ':' || wordByte(c):
			for end < len(src) && wordByte(src[end]) {
				end++
			}
		case c == '<' || c == '>':
			if two := src[i:min(i+2, len(src))]; two == "<=" || two == ">=" || two == "<>" {
				end++
			}
		}
		out = append(out, token{src[i:end], i, end})
		i = end
	}
	return out
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isNumber(token string) bool { return allDigits(token) }

// isName says whether an attribute may be named so without a placeholder, but
// for the reserved words.
func isName(token string) bool {
	return token != "" && wordByte(token[0]) && (token[0] < '0' || token[0] > '9')
}
