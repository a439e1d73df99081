<?php // The token for one connection of one user, by an app's backend: HS256, nothing but PHP 8.
function b64(string $bytes): string { return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '='); }

function token(string $userId, string $level, string $gender, string $band, array $card): string {
    $key = getenv('PAIR_SECRET'); // [auth] tokens = [{ kid = "app-1", alg = "HS256", secret = "…" }]
    $now = time();
    $sub = substr(b64(hash_hmac('sha256', "pseudonym $userId", $key, true)), 0, 22); // never the id itself, never an e-mail
    $header = ['typ' => 'JWT', 'alg' => 'HS256', 'kid' => 'app-1'];
    $claims = ['iss' => getenv('PAIR_ISSUER'), 'aud' => getenv('PAIR_AUDIENCE'), 'iat' => $now, 'nbf' => $now, 'exp' => $now + 300,
        'jti' => b64(random_bytes(16)), 'sub' => $sub, 'age' => ['ok' => true, 'band' => $band], 'g' => $gender, 'lvl' => $level,
        'gp' => ['f', 'm', 'x'], 'card' => $card];
    $signed = b64(json_encode($header)) . '.' . b64(json_encode($claims));
    return $signed . '.' . b64(hash_hmac('sha256', $signed, $key, true));
}

if (isset($argv[1])) echo token($argv[1], 'B1', 'x', '18+', ['n' => 'Lea']), "\n";
